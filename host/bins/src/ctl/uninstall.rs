//! `recoilctl uninstall`.

use super::{Format, Output, VerbError};
use crate::client::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Uninstall {
    /// The app to remove. Its data goes too.
    name: String,
    /// Keep its data and settings: the next installation of the package under this name has them. `recoilctl list` shows what is kept,
    /// and uninstalling it once more, without this, removes it.
    #[arg(long)]
    keep_data: bool,
}

impl Uninstall {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let answer: serde_json::Value =
            client.delete(&format!("/v1/apps/{}?keep-data={}", path_segment(&self.name)?, self.keep_data)).await?;
        match output.format() {
            Format::Json | Format::Yaml => output.value(&answer)?,
            Format::Table if self.keep_data => output.line(&format!("{} is removed, its data kept", self.name))?,
            Format::Table => output.line(&format!("{} and its data are removed", self.name))?,
        }
        Ok(())
    }
}

/// An app's name as part of a path: whatever could change the path cannot be a name.
pub(super) fn path_segment(name: &str) -> Result<&str, VerbError> {
    let good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if good {
        Ok(name)
    } else {
        Err(VerbError::Local(format!("'{name}' cannot be an app's name: see `recoilctl list`")))
    }
}
