//! What may be typed, and the help that explains it.
//!
//! Knows: names, defaults and explanations of commands and options. Refuses to know: what the commands do. Guarantee: no
//! option takes a secret, because arguments are seen by everybody on the machine and stay in the shell's history.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cosell::ids::{OpportunityId, ReferralId};

const AFTER: &str = "\
In the repository `make` calls it, with the settings of an environment:
  make columns ENV=staging ARGS=--check
is the same as
  cosell --settings FILE columns --check

In this order on the first day:
  cosell credentials   the Dynamics application's id and secret
  cosell columns       the columns the connector needs in Dynamics
  cosell consent       the sign-in for Partner Center
  cosell register      the webhook at Partner Center; `make deploy` does it as well
  cosell doctor        everything at once: what works, what does not, and how to cure it
  cosell prove         a test event from Partner Center to the webhook

And whenever the mapping is changed:
  cosell mapping-check what is wrong with a mapping file, line by line

Every day, about deals:
  cosell attention     what needs a person
  cosell show          one deal, both sides, and what can be restored
  cosell resync        look at deals now
  cosell accept, decline, restore, link, unlink
                       orders about one deal
  cosell backfill      take in what is older than the connector

Settings are the variables of the deployment. They are read from the
environment and, where it does not set one, from the file named with
--settings: a JSON object, as `infra/run operator staging` writes it. Only
AWS_REGION of the file wins over the environment's: a CloudShell exports its
own.

AWS is reached with your own profile, as the `aws` command reaches it:
AWS_PROFILE, `aws sso login`, or AWS_ACCESS_KEY_ID.

Exit codes: 0 all is well, 1 something failed or differs, 2 the call was
wrong, 130 interrupted. Colours are used on a terminal only, and not at all
when NO_COLOR is set.";

/// Sets up, examines and steers the co-sell connector between Partner Center and Dynamics 365.
#[derive(Debug, Parser)]
#[command(name = "cosell", version, after_help = AFTER, max_term_width = 100, subcommand_required = true)]
pub(crate) struct Arguments {
    /// JSON file with the deployment's variables; the environment wins over it, but for AWS_REGION.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// Print one JSON document on standard output; what a person should see goes to standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Consent(Consent),
    Credentials(Credentials),
    Columns(Columns),
    Register(Register),
    Prove(Prove),
    Doctor(Doctor),
    MappingCheck(MappingCheck),
    Show(Show),
    Attention(Attention),
    Resync(Resync),
    Accept(Accept),
    Decline(Decline),
    Restore(Restore),
    Link(Link),
    Unlink(Unlink),
    Backfill(Backfill),
}

/// How the function `sync` is reached.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Address of `sync` in a local world, such as http://127.0.0.1:7077/sync; without it the deployed function is invoked.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// One deal, named by one of its two records.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Deal {
    /// Id of the referral.
    #[arg(long, value_name = "ID")]
    pub(crate) referral: Option<ReferralId>,
    /// Id of the opportunity.
    #[arg(long, value_name = "ID")]
    pub(crate) opportunity: Option<OpportunityId>,
}

/// What every command about deals needs.
const NEEDS_SYNC: &str = "\
Needs:
  - AWS permission lambda:InvokeFunction on the function `sync`
  - Settings: SYNC_FUNCTION, AWS_REGION
  - Or a local world, named with --url";

#[derive(Debug, Args)]
#[command(
    about = "Show a deal: both sides, what they agreed on, what would be done",
    long_about = "\
Show a deal: both sides, what they agreed on, what would be done.

Three columns (what both sides last agreed on, Partner Center, Dynamics), what
needs a person, what a look would write, the newest audit records, and the
values in them that can be restored. It writes nothing.",
    after_long_help = NEEDS_SYNC
)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) deal: Deal,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(
    about = "List what needs a person, the longest waiting first",
    after_long_help = NEEDS_SYNC
)]
pub(crate) struct Attention {
    /// Go on where an earlier list ended.
    #[arg(long, value_name = "PLACE")]
    pub(crate) from: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Which deals are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Filter {
    /// Those that need a person.
    Attention,
    /// Those whose next look is overdue.
    Due,
    /// Every deal.
    All,
}

impl Filter {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Due => "due",
            Self::All => "all",
        }
    }
}

/// One deal, or many.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// Id of the referral.
    #[arg(long, value_name = "ID")]
    pub(crate) referral: Option<ReferralId>,
    /// Id of the opportunity.
    #[arg(long, value_name = "ID")]
    pub(crate) opportunity: Option<OpportunityId>,
    /// Which deals, instead of one.
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) filter: Option<Filter>,
}

#[derive(Debug, Args)]
#[command(
    about = "Look at both sides of a deal now and bring it into step; or of many",
    long_about = "\
Look at both sides of a deal now and bring it into step; or of many.

One deal is looked at while you wait. With --filter the deals are put on the
queue and looked at one after the other, within the vendors' budgets.",
    after_long_help = NEEDS_SYNC
)]
pub(crate) struct Resync {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Go on where an earlier run ended.
    #[arg(long, value_name = "PLACE", requires = "filter")]
    pub(crate) from: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(
    about = "Accept a deal that waits for an answer",
    long_about = "\
Accept a deal that waits for an answer.

The referral becomes active and the opportunity leaves On Hold, as if the
seller had done it.",
    after_long_help = NEEDS_SYNC
)]
pub(crate) struct Accept {
    #[command(flatten)]
    pub(crate) deal: Deal,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(
    about = "Decline a deal that waits for an answer",
    long_about = "\
Decline a deal that waits for an answer.

The referral is closed as declined with the reason, and the opportunity as
lost. Partner Center has no way back.",
    after_long_help = NEEDS_SYNC
)]
pub(crate) struct Decline {
    #[command(flatten)]
    pub(crate) deal: Deal,
    /// Why; whoever sent the deal reads it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(
    about = "Put a recorded value back on both sides",
    long_about = "\
Put a recorded value back on both sides.

Without --record it is the newest value of the field that a conflict has
overruled. With it, it is what that audit record replaced. `cosell show` lists
both.",
    after_long_help = NEEDS_SYNC
)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) deal: Deal,
    /// Which field, as `cosell show` names it: for instance value, close_date or notes.
    #[arg(long, value_name = "FIELD")]
    pub(crate) field: String,
    /// Number of the audit record.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) record: Option<u64>,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(
    about = "Make one deal of a referral and an opportunity that exist",
    long_about = "\
Make one deal of a referral and an opportunity that exist.

Neither may belong to another deal; what does is unlinked first. Synchronisation
is switched on in the opportunity, and what is empty on one side is filled from
the other.",
    after_long_help = NEEDS_SYNC
)]
pub(crate) struct Link {
    /// Id of the referral.
    #[arg(long, value_name = "ID")]
    pub(crate) referral: ReferralId,
    /// Id of the opportunity.
    #[arg(long, value_name = "ID")]
    pub(crate) opportunity: OpportunityId,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(
    about = "Part a referral and its opportunity",
    long_about = "\
Part a referral and its opportunity.

Synchronisation is switched off in the opportunity and the referral's id is
taken out of it. Both records stay as they are otherwise, and no poll joins
them or makes them anew; `cosell link` does, with one another or with others.",
    after_long_help = NEEDS_SYNC
)]
pub(crate) struct Unlink {
    #[command(flatten)]
    pub(crate) deal: Deal,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(
    about = "Take in what is older than the connector",
    long_about = "\
Take in what is older than the connector.

Walks over all referrals and over all opportunities that are switched to
synchronise, and puts those on the queue that no deal holds yet. It can be
interrupted; it then says how to go on.",
    after_long_help = NEEDS_SYNC
)]
pub(crate) struct Backfill {
    /// Only referrals that were changed since this day.
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<String>,
    /// Records of deals that are linked already, too.
    #[arg(long)]
    pub(crate) all: bool,
    /// Go on where an earlier run ended.
    #[arg(long, value_name = "PLACE")]
    pub(crate) from: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(
    about = "Sign in for Partner Center and store the credential",
    long_about = "\
Sign in for Partner Center and store the credential.

Partner Center works only with a person's sign-in. This command opens
Microsoft's sign-in page, takes the answer on this machine, makes sure that it
carries a second factor and works for both of Partner Center's APIs, and
stores it in the secret PARTNER_CENTER_SECRET. Nothing of it is printed. Until
everything has been checked the previous credential stays as it is. It can be
repeated at any time.",
    after_long_help = "\
Needs:
  - An application in Microsoft Entra (App registrations) with a client
    secret, the delegated permissions `user_impersonation` of \"Microsoft
    Partner\" and of \"Microsoft Partner Center\", admin consent for both, and
    under Authentication the platform \"Web\" with the redirect URI
    http://localhost:8400/consent
  - A user for the connector: Referrals admin in Partner Center, with a second
    factor
  - AWS permissions on the secret: GetSecretValue, DescribeSecret,
    PutSecretValue
  - Settings: PARTNER_TENANT_ID, PARTNER_CENTER_SECRET

Example:
  cosell --settings staging.json consent

  Without a terminal, the secret comes from a pipe or from the variable
  CLIENT_SECRET:
  pass show cosell/entra | cosell --settings staging.json consent --client-id 1b2c... --secret-stdin

Next:
  `cosell doctor` shows that the credential works; the next deployment
  registers the webhook with it."
)]
pub(crate) struct Consent {
    #[command(flatten)]
    pub(crate) application: Application,
    /// Port on this machine to which the sign-in returns; 0 picks a free one. Entra ignores the port when it compares
    /// redirect URIs.
    #[arg(long, default_value_t = 8400, value_name = "PORT")]
    pub(crate) port: u16,
    /// Do not open a browser; print the address only.
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// How long to wait for the sign-in, in seconds.
    #[arg(long, default_value = "600", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
#[command(
    about = "Try the Dynamics application's id and secret and store them",
    long_about = "\
Try the Dynamics application's id and secret and store them.

Asks for both, fetches a token with them, calls the CRM once, and only then
stores them in the secret DATAVERSE_SECRET. What does not work is not stored.
What is stored already is not stored again.",
    after_long_help = "\
Needs:
  - An application in Microsoft Entra (App registrations) with a client secret
  - An application user for it in the environment (Power Platform admin
    center, Environments, your environment, Settings, Users + permissions,
    Application users) with a security role
  - AWS permissions on the secret: GetSecretValue, DescribeSecret,
    PutSecretValue
  - Settings: DATAVERSE_URL, DATAVERSE_SECRET, and DATAVERSE_TENANT_ID or
    PARTNER_TENANT_ID

Example:
  cosell --settings staging.json credentials

  Without a terminal, the secret comes from a pipe or from the variable
  CLIENT_SECRET:
  pass show cosell/dynamics | cosell --settings staging.json credentials --client-id 4d5e... --secret-stdin

Next:
  `cosell columns` prepares the CRM."
)]
pub(crate) struct Credentials {
    #[command(flatten)]
    pub(crate) application: Application,
}

/// An application of Entra. Its secret comes from the terminal, a pipe or the environment.
#[derive(Debug, Args)]
pub(crate) struct Application {
    /// Application (client) id, as the app registration's overview shows it. Left out, the stored one is used, or asked for.
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Ask for the client secret although one is stored: after a new one was made.
    #[arg(long)]
    pub(crate) new_secret: bool,
    /// Read the client secret from standard input: its first line.
    #[arg(long)]
    pub(crate) secret_stdin: bool,
}

#[derive(Debug, Args)]
#[command(
    about = "Create or check the columns, table and key the connector needs in Dynamics",
    long_about = "\
Create or check the columns, table and key the connector needs in Dynamics.

Reads what is there, shows the difference to what is wanted, asks, and then
creates what is missing, in the solution of our own publisher. Nothing that
exists is altered or deleted. It can be interrupted and repeated: what is
there already is left alone. A column that exists with another kind stops it
before anything is written.",
    after_long_help = "\
Needs:
  - The credentials stored by `cosell credentials`
  - For the application user, while it creates: the security role System
    Customizer
  - Settings: DATAVERSE_URL, DATAVERSE_SECRET, and DATAVERSE_TENANT_ID or
    PARTNER_TENANT_ID

Example:
  cosell --settings staging.json columns --check
  cosell --settings staging.json columns

Next:
  Put the columns on the forms your sellers use; Dynamics shows a new column
  on none. Then `cosell doctor`."
)]
pub(crate) struct Columns {
    /// Show the difference only; exit with 1 when there is one.
    #[arg(long)]
    pub(crate) check: bool,
    /// Do not ask before creating.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Folder with solution.toml, columns.toml and tables.toml that replace the built-in definitions.
    #[arg(long, value_name = "DIR")]
    pub(crate) definitions: Option<PathBuf>,
    /// How long to wait until the key's index is built, in seconds. Large tables take minutes.
    #[arg(long, default_value = "900", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
#[command(
    about = "Register the webhook at Partner Center, or put its registration right",
    long_about = "\
Register the webhook at Partner Center, or put its registration right.

A tenant has one registration. Where there is none, it is created; where ours
lacks something, it is completed; where nothing differs, nothing is written.
One that leads to another deployment or product is left alone and shown,
unless --overwrite says that it shall be replaced. What was written is read
back.",
    after_long_help = "\
Needs:
  - The credential stored by `cosell consent`
  - AWS permissions on its secret: GetSecretValue, and PutSecretValue and
    UpdateSecretVersionStage, since Entra hands out a new refresh token with
    every use, one a day of which is kept
  - Settings: WEBHOOK_URL, PARTNER_TENANT_ID, PARTNER_CENTER_SECRET

Example:
  cosell --settings staging.json register
  cosell --settings staging.json register --overwrite

Next:
  `cosell prove` shows that events arrive."
)]
pub(crate) struct Register {
    /// Replace a registration that leads elsewhere. What it served gets no events from then on.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
#[command(
    about = "Have Partner Center send a test event to the webhook",
    long_about = "\
Have Partner Center send a test event to the webhook.

Partner Center posts a signed test event to the registered address and tells
what the webhook answered. It changes nothing on either side.",
    after_long_help = "\
Needs:
  - A registration: `cosell register`
  - AWS permissions as `cosell register` needs them
  - Settings: WEBHOOK_URL, PARTNER_TENANT_ID, PARTNER_CENTER_SECRET

Example:
  cosell --settings staging.json prove

Next:
  Share one test opportunity in the CRM and see it appear in Partner Center."
)]
pub(crate) struct Prove {}

#[derive(Debug, Args)]
#[command(
    about = "Examine everything and name the cure of what does not work",
    long_about = "\
Examine everything and name the cure of what does not work.

Goes through settings, AWS, secrets, tokens, roles on both sides, columns,
change tracking, the webhook's registration, tables, queue and clock, in the
order in which they depend on one another. It only reads. A check that cannot
be made says what it waits for.",
    after_long_help = "\
Needs:
  - Settings: all of the deployment's, as `infra/run operator staging` writes
    them
  - AWS permissions: GetSecretValue and DescribeSecret on both secrets,
    PutSecretValue and UpdateSecretVersionStage on Partner Center's (Entra
    hands out a new refresh token with every use, and one a day is kept),
    dynamodb:DescribeTable on both tables, sqs:GetQueueAttributes on the queue

Example:
  cosell --settings staging.json doctor

Next:
  Cure what failed from the top, and run it again."
)]
pub(crate) struct Doctor {}

#[derive(Debug, Args)]
#[command(
    about = "Check a mapping file before it is packed",
    long_about = "\
Check a mapping file before it is packed.

Names every mistake with its line, as the function would when it starts, and
shows the table that the file comes to. `make build MAPPING=...` calls it, so
that a mapping with mistakes is never deployed. With --crm every column is
compared with Dynamics: whether it exists, its kind, length and choices.",
    after_long_help = "\
Needs:
  - The file. No settings, no account, no network
  - With --crm: settings DATAVERSE_URL, DATAVERSE_SECRET, and
    DATAVERSE_TENANT_ID or PARTNER_TENANT_ID

Example:
  cosell mapping-check my-mapping.toml
  cosell --settings staging.json mapping-check --crm my-mapping.toml

Next:
  make build MAPPING=my-mapping.toml, then make deploy ENV=..."
)]
pub(crate) struct MappingCheck {
    /// The mapping file, in TOML.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Compare every column with the Dynamics of the settings.
    #[arg(long)]
    pub(crate) crm: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: u64 = text.parse().map_err(|_| "not a whole number of seconds".to_owned())?;
    if !(1..=86_400).contains(&number) {
        return Err("must be between 1 and 86400".to_owned());
    }
    Ok(Duration::from_secs(number))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_option_takes_a_secret() {
        let command = Arguments::command();
        let options = command.get_subcommands().flat_map(clap::Command::get_arguments);
        for option in options {
            let name = option.get_id().as_str();
            let takes_value = option.get_action().takes_values();
            assert!(
                !(takes_value && (name.contains("secret") || name.contains("token"))),
                "{name}"
            );
        }
    }
}
