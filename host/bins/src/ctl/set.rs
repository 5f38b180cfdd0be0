//! `recoilctl set`.

use std::collections::BTreeMap;

use super::uninstall::path_segment;
use super::{Format, Output, VerbError};
use crate::client::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    /// The app.
    name: String,
    /// New values of its settings; `recoilctl inspect` shows which there are.
    #[arg(required = true, value_name = "SETTING=VALUE", value_parser = setting)]
    values: Vec<(String, String)>,
}

pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as SETTING=VALUE, such as greeting=hi")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Set {
    pub(super) async fn run(&self, client: &Client, output: &mut Output) -> Result<(), VerbError> {
        let values: BTreeMap<_, _> = self.values.iter().cloned().collect();
        let body = serde_json::to_vec(&values).map_err(|error| VerbError::Local(error.to_string()))?;
        let path = format!("/v1/apps/{}/settings", path_segment(&self.name)?);
        let in_force: BTreeMap<String, serde_json::Value> = client.patch(&path, body).await?;
        match output.format() {
            Format::Json | Format::Yaml => output.value(&in_force)?,
            Format::Table => {
                let rows: Vec<_> = in_force.iter().map(|(name, value)| [name.clone(), shown(value)]).collect();
                output.table(["SETTING", "VALUE"], &rows)?;
            }
        }
        Ok(())
    }
}

fn shown(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
