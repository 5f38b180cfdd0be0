//! What a handler reads: the overlay and below it the data, or one moment of the data.

use std::sync::Arc;

use bytes::Bytes;
use recoil_base::AppId;
use recoil_consensus::Local;
use recoil_engine::{Overlay, View, ViewError};
use recoil_storage::{Data, DataError, DataSnapshot, key};

use super::recent::Recent;

/// The newest state, for the leader. The overlay is looked at first: a write moves from it to the data, never back.
pub(super) struct LeaderView {
    overlay: Arc<Overlay>,
    recent: Arc<Recent>,
    data: Data,
    prefix: [u8; key::PREFIX_BYTES],
}

impl LeaderView {
    pub(super) fn new(overlay: Arc<Overlay>, recent: Arc<Recent>, data: Data, local: &Local, app: AppId) -> Self {
        LeaderView { overlay, recent, data, prefix: key::prefix(local.copy, app) }
    }
}

impl View for LeaderView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        if let Some(found) = self.overlay.get(key).or_else(|| self.recent.get(key)) {
            return Ok(found);
        }
        let found = self.data.get(&full(&self.prefix, key)).map_err(view_error)?;
        self.recent.read(key, found.as_ref());
        Ok(found)
    }

    fn scan<'a>(
        &'a self,
        start: Bytes,
        end: Option<Bytes>,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), ViewError>> + Send + 'a> {
        let below = rows(&self.data.snapshot(), &self.prefix, &start, end.as_ref(), reverse);
        if self.overlay.is_empty() {
            below
        } else {
            Box::new(self.overlay.scan(below, &start, end.as_deref(), reverse))
        }
    }
}

/// One moment of what has been applied here, for stale reads: a get and a scan of one call agree.
pub(super) struct StaleView {
    rows: DataSnapshot,
    prefix: Vec<u8>,
}

impl StaleView {
    pub(super) fn new(data: &Data, local: &Local, app: AppId) -> Self {
        StaleView { rows: data.snapshot(), prefix: key::prefix(local.copy, app).to_vec() }
    }
}

impl View for StaleView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.rows.get(&full(&self.prefix, key)).map_err(view_error)
    }

    fn scan<'a>(
        &'a self,
        start: Bytes,
        end: Option<Bytes>,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), ViewError>> + Send + 'a> {
        rows(&self.rows, &self.prefix, &start, end.as_ref(), reverse)
    }
}

fn full(prefix: &[u8], key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(prefix.len() + key.len());
    full.extend_from_slice(prefix);
    full.extend_from_slice(key);
    full
}

fn rows(
    rows: &DataSnapshot,
    prefix: &[u8],
    start: &[u8],
    end: Option<&Bytes>,
    reverse: bool,
) -> Box<dyn Iterator<Item = Result<(Bytes, Bytes), ViewError>> + Send> {
    // Without an end, a scan goes to the end of the rows of its kind.
    let end = end.cloned().unwrap_or_else(|| Bytes::from(vec![start.first().copied().unwrap_or(0).saturating_add(1)]));
    let skip = prefix.len();
    let found = rows.range(full(prefix, start), Some(full(prefix, &end)), reverse);
    Box::new(found.map(move |row| row.map(|(key, value)| (key.slice(skip..), value)).map_err(view_error)))
}

#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn view_error(error: DataError) -> ViewError {
    ViewError(error.to_string())
}
