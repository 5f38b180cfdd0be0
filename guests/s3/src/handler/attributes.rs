//! Tags, access and retention of versions that are there.

use recoil_sdk::Error;
use s3s::S3ErrorCode;

use super::{Context, write};
use crate::data::command::{Answer, AttributeChange, Found, VersionName, refuse};
use crate::data::keys;
use crate::data::rows::{Details, LockMode, Retention};

impl Context<'_> {
    pub(super) fn set_attributes(
        &mut self,
        name: Option<VersionName>,
        change: AttributeChange,
        bypass: bool,
    ) -> Result<Answer, Error> {
        let mut details = match self.find(name)? {
            Ok(details) => details,
            Err(answer) => {
                self.must_see_absence()?;
                return Ok(answer);
            }
        };
        let action = match &change {
            AttributeChange::Tags(tags) if tags.is_empty() => "s3:DeleteObjectTagging",
            AttributeChange::Tags(_) => "s3:PutObjectTagging",
            AttributeChange::Acl(_) => "s3:PutObjectAcl",
            AttributeChange::Retention(_) => "s3:PutObjectRetention",
            AttributeChange::LegalHold(_) => "s3:PutObjectLegalHold",
        };
        self.must_to(action, &details)?;
        match change {
            AttributeChange::Tags(tags) => {
                details.attributes.tags = tags;
            }
            AttributeChange::Acl(acl) => {
                if let Some((code, why)) = self.bucket.acl_refusal(&acl) {
                    return Err(refuse(code, why));
                }
                let owner = details.version.owner.as_ref().unwrap_or(&self.bucket.owner);
                details.attributes.acl = Some(acl.of_owner(owner));
            }
            AttributeChange::Retention(retention) => {
                self.must_have_lock()?;
                self.check_retention(&details, retention, bypass)?;
                details.attributes.retention = retention;
            }
            AttributeChange::LegalHold(hold) => {
                self.must_have_lock()?;
                details.attributes.legal_hold = hold;
            }
        }
        write(self.transaction, &keys::details(&details.version.id), &details)?;
        let range = (0, details.version.size);
        Ok(Answer::Found(Box::new(Found {
            details,
            range,
            outside: false,
            pieces_from: 0,
            pieces: vec![],
            parts: vec![],
        })))
    }

    fn must_have_lock(&self) -> Result<(), Error> {
        if self.bucket.configuration.lock {
            return Ok(());
        }
        Err(refuse(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration"))
    }

    /// A retention may be made longer by anybody who may set one; it is made shorter, or given another
    /// mode, only in governance mode, by who may bypass it.
    fn check_retention(&self, details: &Details, new: Option<Retention>, bypass: bool) -> Result<(), Error> {
        let now_us = self.transaction.now_us();
        if new.is_some_and(|new| new.until_us <= now_us) {
            return Err(refuse(S3ErrorCode::InvalidArgument, "The retain until date must be in the future!"));
        }
        let Some(old) = details.attributes.retention.filter(|old| old.until_us > now_us) else { return Ok(()) };
        let stays = new.is_some_and(|new| new.until_us >= old.until_us && new.mode == old.mode);
        match old.mode {
            _ if stays => Ok(()),
            LockMode::Governance if bypass => self.must("s3:BypassGovernanceRetention"),
            _ => Err(refuse(S3ErrorCode::AccessDenied, "the object's retention cannot be made weaker")),
        }
    }
}
