//! `recoilctl list`.

use recoil_gateway::api::AppSummary;

use super::status::{APP_HEADING, app_row};
use super::{Format, Output, VerbError};
use crate::client::Client;

pub(super) async fn run(client: &Client, output: &mut Output) -> Result<(), VerbError> {
    let apps: Vec<AppSummary> = client.get("/v1/apps").await?;
    match output.format() {
        Format::Json | Format::Yaml => output.value(&apps)?,
        Format::Table if apps.is_empty() => {
            output.line("no apps; install one with `recoilctl install redis-server`")?
        }
        Format::Table => output.table(APP_HEADING, &apps.iter().map(app_row).collect::<Vec<_>>())?,
    }
    Ok(())
}
