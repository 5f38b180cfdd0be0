//! `recoilctl uninstall`.

use std::io::Write;

use super::confirm::confirm;
use super::{Format, Output, VerbError, data};
use crate::client::Client;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  recoilctl uninstall redis-server --keep-data
  recoilctl uninstall redis-server --yes")]
pub(super) struct Uninstall {
    /// The app to remove. Its data are deleted, after a question that says how much they are.
    name: String,
    /// Do not ask before data are deleted.
    #[arg(short, long)]
    yes: bool,
    /// Keep its data and settings: the next installation of the package under this name has them. `recoilctl data list` shows what is
    /// kept, and `recoilctl data delete` deletes it.
    #[arg(long)]
    keep_data: bool,
}

impl Uninstall {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let name = path_segment(&self.name)?;
        if !self.yes && !self.keep_data {
            let amounts = data::amounts(client, Some(name)).await?;
            // The node refuses everything else with its reason.
            if let Some(amount) = amounts.iter().find(|amount| !amount.is_kept()) {
                let show = |to: &mut dyn Write| {
                    writeln!(to, "{name} {} will be removed from all nodes and its data deleted:", amount.version())?;
                    writeln!(to, "  {} (--keep-data keeps them)", amount.in_words())
                };
                confirm(show, "Remove it with its data?", "nothing was removed")?;
            }
        }
        let path = format!("/v1/apps/{name}?keep-data={}", self.keep_data);
        let answer: serde_json::Value = client.delete(&path).await?;
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
        Err(VerbError::Local(format!("'{name}' cannot be a name: see `recoilctl list` and `recoilctl keyspace list`")))
    }
}
