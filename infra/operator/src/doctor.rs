//! `cosell doctor`.

use crate::arguments::Doctor;
use crate::command::{Context, Report};
use crate::trouble::Trouble;

pub(crate) async fn run(_: &Doctor, _: &Context<'_>) -> Result<Report, Trouble> {
    Err(Trouble::new("not_yet", "not yet", "not yet"))
}
