//! Lists of objects, versions and uploads.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use recoil_sdk::storage::prefix_end;
use recoil_sdk::{Mode, RoutedCall};
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, DeleteMarkerEntry, ETag, EncodingType, Initiator,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectVersionsInput, ListObjectVersionsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, MultipartUpload, Object,
    ObjectStorageClass, ObjectVersion, ObjectVersionStorageClass, Owner, StorageClass,
};

use super::access::shown_owner;
use super::given::version as parse_version;
use super::merge::{Next, merge};
use super::session::{Session, unexpected};
use crate::data::command::{Answer, Behind, Command, Item, Listing, Page, VersionName, encode};
use crate::data::keys;
use crate::data::rows::{Bucket, Place, Upload, Version};
use crate::digest::Algorithm;
use crate::fault::{Outcome, internal, invalid};
use crate::front::signature::encode as percent_encode;
use crate::front::time::timestamp;

/// Items of a page.
pub(super) const PAGE_MAX: i32 = 1000;

/// What a list is asked for.
struct List<'a> {
    listing: Listing,
    prefix: &'a str,
    delimiter: &'a str,
    limit: i32,
    start: Next,
}

/// Names as they are written: encoded if the client asked for that, since XML cannot carry every
/// name.
struct Names(bool);

impl Names {
    fn of(encoding: Option<&EncodingType>) -> Outcome<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Names(false)),
            Some("url") => Ok(Names(true)),
            Some(other) => Err(invalid(format!("Invalid Encoding Method specified in Request: '{other}'"))),
        }
    }

    fn show(&self, name: &str) -> String {
        if self.0 { percent_encode(name, true) } else { name.to_owned() }
    }

    fn encoding(&self) -> Option<EncodingType> {
        self.0.then(|| EncodingType::from_static(EncodingType::URL))
    }
}

/// Whose a version is.
fn owner(bucket: &Bucket, version: &Version) -> Owner {
    let own = version.owner.as_ref().filter(|_| !bucket.configuration.has_no_acls());
    shown_owner(own.unwrap_or(&bucket.owner))
}

fn limit(given: Option<i32>, what: &str) -> Outcome<i32> {
    match given {
        None => Ok(PAGE_MAX),
        Some(limit) if limit < 0 => {
            Err(invalid(format!("Argument {what} must be an integer between 0 and 2147483647")))
        }
        Some(limit) => Ok(limit.min(PAGE_MAX)),
    }
}

/// The first name after everything that is shown by `last`.
fn behind(last: &Item) -> Next {
    let name = last.name();
    match last {
        Item::Prefix(_) => (prefix_end(name.as_bytes()).unwrap_or_else(|| vec![0xff; 1025]), None),
        Item::Object { .. } => ([name.as_bytes(), &[0]].concat(), None),
        Item::Version { version, .. } => (name.as_bytes().to_vec(), Some(Behind::Version(VersionName::of(version)))),
        Item::Upload { upload, .. } => (name.as_bytes().to_vec(), Some(Behind::Upload(upload.id))),
    }
}

/// The first name after a marker that a client gave: after all of the common prefix that it lies
/// in.
fn after_marker(marker: &str, prefix: &str, delimiter: &str) -> Next {
    if marker.is_empty() {
        return (vec![], None);
    }
    let rest = marker.strip_prefix(prefix).filter(|_| !delimiter.is_empty());
    if let Some(at) = rest.and_then(|rest| rest.find(delimiter)) {
        let common = &marker[..prefix.len() + at + delimiter.len()];
        return behind(&Item::Prefix(common.to_owned()));
    }
    ([marker.as_bytes(), &[0]].concat(), None)
}

const TOKEN: &str = "1-";

fn token(next: &Next) -> String {
    format!("{TOKEN}{}", URL_SAFE_NO_PAD.encode(&next.0))
}

fn parse_token(token: &str) -> Outcome<Next> {
    let start = token.strip_prefix(TOKEN).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    start.map(|start| (start, None)).ok_or_else(|| invalid("The continuation token provided is incorrect"))
}

impl Session {
    /// A page of a list, and where the next begins if there is one.
    fn list(&self, bucket: &Bucket, list: List<'_>) -> Outcome<(Vec<Item>, Option<Next>)> {
        if list.limit == 0 {
            // Nobody is told anything, but whether they may ask.
            self.ask_shards(bucket, &list, &[(0, list.start.clone(), 0)])?;
            return Ok((vec![], None));
        }
        let start = list.start.clone();
        let mut ask = |wanted: &[(u16, Next, u32)]| self.ask_shards(bucket, &list, wanted);
        let (items, more) = merge(bucket.shards, &start, list.limit as usize, &mut ask)?;
        let next = items.last().filter(|_| more).map(behind);
        Ok((items, next))
    }

    fn ask_shards(
        &self,
        bucket: &Bucket,
        list: &List<'_>,
        wanted: &[(u16, Next, u32)],
    ) -> Outcome<Vec<(Vec<Item>, Option<Next>)>> {
        let caller = self.caller().with("s3:prefix", list.prefix);
        let call = |(shard, (start, behind), limit): &(u16, Next, u32)| {
            let place = Place { bucket: bucket.id, shard: *shard };
            let page = Page {
                listing: list.listing,
                prefix: list.prefix.to_owned(),
                delimiter: list.delimiter.to_owned(),
                start: start.clone(),
                behind: *behind,
                limit: *limit,
            };
            let command = Command::Page { place, caller: caller.clone(), page };
            let request = encode(&command, b"").map_err(|error| internal(error.message()))?;
            Ok(RoutedCall { mode: Mode::Read, ..RoutedCall::read(&keys::shard_address(&place), request) })
        };
        let calls = wanted.iter().map(call).collect::<Outcome<Vec<_>>>()?;
        let answers = self.read_many(&calls)?.into_iter().map(|answer| match answer {
            Answer::Items { items, next } => Ok((items, next)),
            other => Err(unexpected(&other)),
        });
        answers.collect()
    }

    pub(super) fn list_objects_v2(&self, input: ListObjectsV2Input) -> Outcome<ListObjectsV2Output> {
        let bucket = self.bucket(&input.bucket)?;
        let names = Names::of(input.encoding_type.as_ref())?;
        let limit = limit(input.max_keys, "maxKeys")?;
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), input.delimiter.unwrap_or_default());
        let start = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) if !token.is_empty() => parse_token(token)?,
            (_, Some(after)) => after_marker(after, &prefix, &delimiter),
            (_, None) => (vec![], None),
        };
        let list = List { listing: Listing::Objects, prefix: &prefix, delimiter: &delimiter, limit, start };
        let (items, next) = self.list(&bucket, list)?;
        let key_count = Some(i32::try_from(items.len()).unwrap_or(i32::MAX));
        let with_owner = input.fetch_owner.unwrap_or(false);
        let (contents, common_prefixes) = objects(&bucket, items, &names, with_owner);
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(names.show(&prefix)),
            max_keys: Some(limit),
            key_count,
            continuation_token: input.continuation_token,
            is_truncated: Some(next.is_some()),
            next_continuation_token: next.as_ref().map(token),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            delimiter: Some(names.show(&delimiter)).filter(|delimiter| !delimiter.is_empty()),
            encoding_type: names.encoding(),
            start_after: input.start_after.map(|after| names.show(&after)),
            request_charged: None,
        })
    }

    pub(super) fn list_objects(&self, input: ListObjectsInput) -> Outcome<ListObjectsOutput> {
        let bucket = self.bucket(&input.bucket)?;
        let names = Names::of(input.encoding_type.as_ref())?;
        let limit = limit(input.max_keys, "maxKeys")?;
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), input.delimiter.unwrap_or_default());
        let marker = input.marker.unwrap_or_default();
        let start = after_marker(&marker, &prefix, &delimiter);
        let list = List { listing: Listing::Objects, prefix: &prefix, delimiter: &delimiter, limit, start };
        let (items, next) = self.list(&bucket, list)?;
        // Without a delimiter the last key is the marker, and clients take it from there.
        let last = items.last().map(|item| names.show(item.name()));
        let next_marker = last.filter(|_| next.is_some() && !delimiter.is_empty());
        let (contents, common_prefixes) = objects(&bucket, items, &names, true);
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(names.show(&prefix)),
            marker: Some(names.show(&marker)),
            max_keys: Some(limit),
            is_truncated: Some(next.is_some()),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            delimiter: Some(names.show(&delimiter)).filter(|delimiter| !delimiter.is_empty()),
            next_marker,
            encoding_type: names.encoding(),
            request_charged: None,
        })
    }

    pub(super) fn list_object_versions(&self, input: ListObjectVersionsInput) -> Outcome<ListObjectVersionsOutput> {
        let bucket = self.bucket(&input.bucket)?;
        let names = Names::of(input.encoding_type.as_ref())?;
        let limit = limit(input.max_keys, "maxKeys")?;
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), input.delimiter.unwrap_or_default());
        let key_marker = input.key_marker.unwrap_or_default();
        let version_marker = input.version_id_marker.filter(|marker| !marker.is_empty());
        let start = match &version_marker {
            Some(_) if key_marker.is_empty() => {
                return Err(invalid("A version-id marker cannot be specified without a key marker."));
            }
            Some(version) => {
                let name = parse_version(Some(version))?.map(Behind::Version);
                (key_marker.clone().into_bytes(), name)
            }
            None => after_marker(&key_marker, &prefix, &delimiter),
        };
        let list = List { listing: Listing::Versions, prefix: &prefix, delimiter: &delimiter, limit, start };
        let (items, next) = self.list(&bucket, list)?;
        let mut output = ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(names.show(&prefix)),
            key_marker: Some(names.show(&key_marker)),
            version_id_marker: Some(version_marker.unwrap_or_default()),
            max_keys: Some(limit),
            is_truncated: Some(next.is_some()),
            delimiter: Some(names.show(&delimiter)).filter(|delimiter| !delimiter.is_empty()),
            encoding_type: names.encoding(),
            ..Default::default()
        };
        if let Some(last) = items.last().filter(|_| next.is_some()) {
            output.next_key_marker = Some(names.show(last.name()));
            if let Item::Version { version, .. } = last {
                output.next_version_id_marker = Some(VersionName::of(version).text());
            }
        }
        let (mut versions, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(names.show(&prefix)) }),
                Item::Version { key, version, latest } if version.marker => markers.push(DeleteMarkerEntry {
                    is_latest: Some(latest),
                    key: Some(names.show(&key)),
                    last_modified: Some(timestamp(version.time_us)),
                    owner: Some(owner(&bucket, &version)),
                    version_id: Some(VersionName::of(&version).text()),
                }),
                Item::Version { key, version, latest } => {
                    versions.push(listed_version(&bucket, &names, &key, &version, latest));
                }
                Item::Object { .. } | Item::Upload { .. } => {}
            }
        }
        (output.versions, output.delete_markers, output.common_prefixes) =
            (Some(versions), Some(markers), Some(prefixes));
        Ok(output)
    }

    pub(super) fn list_multipart_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> Outcome<ListMultipartUploadsOutput> {
        let bucket = self.bucket(&input.bucket)?;
        let names = Names::of(input.encoding_type.as_ref())?;
        let limit = limit(input.max_uploads, "max-uploads")?;
        let (prefix, delimiter) = (input.prefix.unwrap_or_default(), input.delimiter.unwrap_or_default());
        let key_marker = input.key_marker.unwrap_or_default();
        // As the API says, it means nothing without a key.
        let upload_marker = input.upload_id_marker.filter(|marker| !marker.is_empty() && !key_marker.is_empty());
        let start = match &upload_marker {
            Some(upload) => {
                let id = super::uploads::upload_id(upload).map_err(|_| invalid("Invalid uploadId marker"))?;
                (key_marker.clone().into_bytes(), Some(Behind::Upload(id)))
            }
            None => after_marker(&key_marker, &prefix, &delimiter),
        };
        let list = List { listing: Listing::Uploads, prefix: &prefix, delimiter: &delimiter, limit, start };
        let (items, next) = self.list(&bucket, list)?;
        let mut output = ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: Some(names.show(&prefix)),
            key_marker: Some(names.show(&key_marker)),
            upload_id_marker: Some(upload_marker.unwrap_or_default()),
            max_uploads: Some(limit),
            is_truncated: Some(next.is_some()),
            delimiter: Some(names.show(&delimiter)).filter(|delimiter| !delimiter.is_empty()),
            encoding_type: names.encoding(),
            ..Default::default()
        };
        if let Some(last) = items.last().filter(|_| next.is_some()) {
            output.next_key_marker = Some(names.show(last.name()));
            if let Item::Upload { upload, .. } = last {
                output.next_upload_id_marker = Some(crate::digest::hex(&upload.id));
            }
        }
        let (mut uploads, mut prefixes) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(names.show(&prefix)) }),
                Item::Upload { key, upload } => uploads.push(MultipartUpload {
                    checksum_algorithm: upload.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
                    checksum_type: upload.checksum.map(|(_, composite)| checksum_type(composite)),
                    initiated: Some(timestamp(upload.initiated_us)),
                    initiator: Some(initiator(&bucket, &upload)),
                    key: Some(names.show(&key)),
                    owner: Some(shown_owner(upload.owner.as_ref().unwrap_or(&bucket.owner))),
                    storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                    upload_id: Some(crate::digest::hex(&upload.id)),
                }),
                Item::Object { .. } | Item::Version { .. } => {}
            }
        }
        (output.uploads, output.common_prefixes) = (Some(uploads), Some(prefixes));
        Ok(output)
    }
}

pub(super) fn algorithm_name(algorithm: Algorithm) -> ChecksumAlgorithm {
    ChecksumAlgorithm::from_static(algorithm.name())
}

pub(super) fn checksum_type(composite: bool) -> ChecksumType {
    ChecksumType::from_static(if composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT })
}

/// Who began an upload.
pub(super) fn initiator(bucket: &Bucket, upload: &Upload) -> Initiator {
    let Owner { display_name, id } = shown_owner(upload.initiator.as_ref().unwrap_or(&bucket.owner));
    Initiator { display_name, id }
}

fn objects(bucket: &Bucket, items: Vec<Item>, names: &Names, with_owner: bool) -> (Vec<Object>, Vec<CommonPrefix>) {
    let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(names.show(&prefix)) }),
            Item::Object { key, version } => contents.push(Object {
                checksum_algorithm: version.checksum.map(|(algorithm, _)| vec![algorithm_name(algorithm)]),
                checksum_type: version.checksum.map(|(_, composite)| checksum_type(composite)),
                e_tag: Some(ETag::Strong(version.etag.text())),
                key: Some(names.show(&key)),
                last_modified: Some(timestamp(version.time_us)),
                owner: with_owner.then(|| owner(bucket, &version)),
                restore_status: None,
                size: i64::try_from(version.size).ok(),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            }),
            Item::Version { .. } | Item::Upload { .. } => {}
        }
    }
    (contents, prefixes)
}

fn listed_version(bucket: &Bucket, names: &Names, key: &str, version: &Version, latest: bool) -> ObjectVersion {
    ObjectVersion {
        checksum_algorithm: version.checksum.map(|(algorithm, _)| vec![algorithm_name(algorithm)]),
        checksum_type: version.checksum.map(|(_, composite)| checksum_type(composite)),
        e_tag: Some(ETag::Strong(version.etag.text())),
        is_latest: Some(latest),
        key: Some(names.show(key)),
        last_modified: Some(timestamp(version.time_us)),
        owner: Some(owner(bucket, version)),
        restore_status: None,
        size: i64::try_from(version.size).ok(),
        storage_class: Some(ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD)),
        version_id: Some(VersionName::of(version).text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_behind_all_of_what_was_shown() {
        assert_eq!(after_marker("a", "", ""), (b"a\0".to_vec(), None));
        assert_eq!(after_marker("a/b", "", "/"), (b"a0".to_vec(), None));
        assert_eq!(after_marker("a/", "", "/"), (b"a0".to_vec(), None));
        assert_eq!(after_marker("a/b", "a/", "/"), (b"a/b\0".to_vec(), None));
        assert_eq!(after_marker("", "", "/"), (vec![], None));
        let next = (b"\xff\0k".to_vec(), None);
        assert_eq!(parse_token(&token(&next)).unwrap(), next);
        assert!(parse_token("2-abc").is_err() && parse_token("1-!").is_err() && parse_token("").is_err());
        assert!(limit(Some(-1), "x").is_err());
        assert_eq!((limit(Some(5000), "x").unwrap(), limit(None, "x").unwrap()), (1000, 1000));
    }
}
