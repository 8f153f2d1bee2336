//! What to try once the stories are over: addresses, and lines for a shell.
//!
//! Knows: one line for every API and every way to move the people in the simulators. Guarantee: the text is a shell
//! script; whole, or a line at a time once the variables at its top are set, it runs as it stands.

use std::path::Path;

use cosell_tests::aws::REGION;
use cosell_tests::entra::{PARTNER_AUDIENCE, PARTNER_CENTER_AUDIENCE};
use cosell_tests::world::{TENANT, World};

use crate::commands::Commands;
use crate::stories::Cast;

/// A client of its own for the person at the shell, so that the connector's refresh token stays the connector's.
const CLIENT: (&str, &str) = ("shell", "shell-secret");

/// The finished text.
#[derive(Debug)]
pub(crate) struct Guide(String);

impl Guide {
    pub(crate) fn new(world: &World, commands: &Commands, cast: &Cast, logs: &Path) -> Self {
        let (client, secret) = CLIENT;
        let refresh_token = world.entra.add_delegated_client(TENANT, client, secret);
        world.entra.add_app_client(TENANT, client, secret);
        let (entra, referrals) = (world.entra.url(), world.partner_center.referrals_url());
        let (webhooks, dynamics) = (world.partner_center.webhooks_url(), world.dataverse.url());
        let (certificates, aws) = (world.partner_center.certificate_host(), world.aws.endpoint_url());
        let (webhook, commands, queue) = (world.gateway.url(), commands.url(), world.queue.as_str());
        let (opportunity, referral) = (&cast.opportunity, &cast.referral);
        let logs = logs.display();
        let token = |audience: &str| {
            format!(
                "$(curl -s {entra}/{TENANT}/oauth2/v2.0/token -d client_id={client} -d client_secret={secret} \
                 -d grant_type=refresh_token -d refresh_token={refresh_token} -d scope={audience}/.default \
                 | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')"
            )
        };
        let partner = token(PARTNER_AUDIENCE);
        let registration = token(PARTNER_CENTER_AUDIENCE);
        let aws_call = |service: &str, target: &str, body: &str| {
            format!(
                "curl -sw '\\n' {aws} --aws-sigv4 aws:amz:{REGION}:{service} --user local:local \
                 -H 'Content-Type: application/x-amz-json-1.0' -H 'X-Amz-Target: {target}' -d '{body}'"
            )
        };
        let scan = |table: &str| {
            aws_call(
                "dynamodb",
                "DynamoDB_20120810.Scan",
                &format!("{{\"TableName\":\"{table}\"}}"),
            )
        };
        let (scan_links, scan_audit) = (scan("cosell-links"), scan("cosell-audit"));
        let queue_attributes = aws_call(
            "sqs",
            "AmazonSQS.GetQueueAttributes",
            &format!("{{\"QueueUrl\":\"{queue}\",\"AttributeNames\":[\"All\"]}}"),
        );
        Self(format!(
            r#"
# Addresses
#
#   Entra (tokens)                         {entra}
#   Partner Center: referrals              {referrals}
#   Partner Center: webhook registration   {webhooks}
#   Partner Center: signing certificate    http://{certificates}
#   Dynamics 365 (Dataverse)               {dynamics}
#   AWS: SQS, DynamoDB, Secrets Manager    {aws}
#   the connector's webhook                {webhook}
#   the connector's other functions        {commands}
#   logs of the functions                  {logs}
#
# Lines to try, top to bottom or one by one once the first part was pasted.
# Dynamics 365 is asked for changes every two seconds from now on.
# Add `| jq` for readable JSON. This text again: curl -s {commands}/

# Tokens, as the connector gets its own (good for an hour), and the open deal of story 1.
PARTNER="Authorization: Bearer {partner}"
REGISTRATION="Authorization: Bearer {registration}"
DYNAMICS="Authorization: Bearer $(curl -s {entra}/{TENANT}/oauth2/v2.0/token -d client_id={client} -d client_secret={secret} -d grant_type=client_credentials -d scope={dynamics}/.default | sed 's/.*"access_token":"\([^"]*\)".*/\1/')"
REFERRAL={referral}
OPPORTUNITY={opportunity}

# Partner Center: all referrals, one with its entity tag, and a change that stands on that tag.
curl -sw '\n' -H "$PARTNER" '{referrals}/v1.0/engagements/referrals?$orderby=updatedDateTime%20desc'
curl -siw '\n' -H "$PARTNER" {referrals}/v1.0/engagements/referrals/$REFERRAL
TAG=$(curl -si -H "$PARTNER" {referrals}/v1.0/engagements/referrals/$REFERRAL | sed -n 's/^etag: //p' | tr -d '\r')
curl -siw '\n' -X PATCH -H "$PARTNER" -H "If-Match: $TAG" -H 'Content-Type: application/json' {referrals}/v1.0/engagements/referrals/$REFERRAL -d '[{{"op":"replace","path":"/details/dealValue","value":140000.75}}]'

# Partner Center: what is registered, and what could be.
curl -sw '\n' -H "$REGISTRATION" {webhooks}/webhooks/v1/registration
curl -sw '\n' -H "$REGISTRATION" {webhooks}/webhooks/v1/registration/events

# Dynamics 365: the opportunities, one of them, and the start of change tracking.
curl -sw '\n' -H "$DYNAMICS" '{dynamics}/api/data/v9.2/opportunities?$select=name,estimatedvalue,statecode,cosell_referralidentifier'
curl -sw '\n' -H "$DYNAMICS" "{dynamics}/api/data/v9.2/opportunities($OPPORTUNITY)"
curl -sw '\n' -H "$DYNAMICS" -H 'Prefer: odata.track-changes' '{dynamics}/api/data/v9.2/opportunities?$select=name,estimatedvalue'

# A seller: changes an opportunity, or wins one. What else people can do there: GET {dynamics}/_control/
curl -sw '\n' -X PATCH {dynamics}/_control/opportunities/$OPPORTUNITY -d '{{"estimatedvalue":150000,"description":"Now with 60 vans."}}'
curl -sw '\n' {dynamics}/_control/opportunities/$OPPORTUNITY

# Microsoft: sends a deal, which becomes an opportunity On Hold; taking it off hold accepts it.
SENT=$(curl -s -X POST {referrals}/_control/microsoft/deals -d '{{"name":"Harvest forecasting","value":"52000"}}' | sed 's/.*"referral":"\([^"]*\)".*/\1/')
sleep 3
NEW=$(curl -s {referrals}/_control/referrals/$SENT | sed 's/.*"externalReferenceId":"\([^"]*\)".*/\1/')
curl -sw '\n' -X PATCH {dynamics}/_control/opportunities/$NEW -d '{{"statecode":0,"statuscode":1}}'
sleep 3
curl -sw '\n' {referrals}/_control/referrals/$SENT
curl -sw '\n' -X PATCH {referrals}/_control/microsoft/referrals/$SENT -d '{{"details":{{"dealValue":54000}}}}'

# Every event that Partner Center delivered to the webhook, and the answers it got; a post without a signature gets 401.
curl -sw '\n' {referrals}/_control/deliveries
curl -siw '\n' -X POST {webhook} -H 'Content-Type: application/json' -d '{{"EventName":"referral-updated"}}'

# The connector: both sides of a deal, bringing it into step now, comparing all deals, the webhook's registration.
curl -sw '\n' -X POST {commands}/sync -d '{{"command":"show","opportunity":"'$OPPORTUNITY'"}}'
curl -sw '\n' -X POST {commands}/sync -d '{{"command":"resync","referral":"'$REFERRAL'"}}'
curl -sw '\n' -X POST {commands}/sync -d '{{"run":"compare"}}'
curl -sw '\n' -X POST {commands}/registration -d '{{"action":"inspect"}}'

# The connector's memory: every deal, every change with its reason, and the queue of hints.
{scan_links}
{scan_audit}
{queue_attributes}
"#
        ))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}
