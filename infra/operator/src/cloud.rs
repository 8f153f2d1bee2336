//! AWS as a person reaches it.
//!
//! Knows: profiles, single sign-on, assumed roles, credential processes, a container's credentials as CloudShell has
//! them. Refuses to know: any service. Guarantees: all of it goes through our one HTTP client; the metadata service of a
//! virtual machine is never asked, because on an office machine nobody answers there and the wait looks like a fault.

use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_types::SdkConfig;
use aws_types::region::Region;
use connector::http::chain;
use transport::aws::{Patience, Source};
use url::Url;

use crate::settings::Variables;
use crate::trouble::Trouble;

/// A person's line may be slow, and nobody else waits.
const PATIENCE: Patience = Patience {
    attempt: Duration::from_secs(10),
    operation: Duration::from_secs(30),
};

/// AWS, with credentials that were found and a region that is known.
pub(crate) async fn connect(variables: &Variables<'_>, client: &reqwest::Client) -> Result<SdkConfig, Trouble> {
    let endpoint = variables.get("AWS_ENDPOINT_URL");
    let is_usable = |text: &String| Url::parse(text).is_ok_and(|url| transport::is_private(&url));
    if !endpoint.as_ref().is_none_or(is_usable) {
        return Err(Trouble::usage(
            "settings_invalid",
            "AWS_ENDPOINT_URL must be an https URL, or a loopback one",
            "unset it; only tests need it",
        ));
    }
    let profile = variables.get("AWS_PROFILE");
    let http = transport::aws::http_client(client.clone());
    let bare = ProviderConfig::empty()
        .with_http_client(http)
        .with_sleep_impl(TokioSleep::new());
    let region = match variables.region() {
        Some(region) => Some(Region::new(region.trim().to_owned())),
        None => {
            let provider = ProfileFileRegionProvider::builder().configure(&bare);
            let provider = match &profile {
                Some(name) => provider.profile_name(name),
                None => provider,
            };
            aws_config::meta::region::ProvideRegion::region(&provider.build()).await
        }
    };
    let Some(region) = region else {
        return Err(Trouble::usage(
            "aws_region_missing",
            "no AWS region is known",
            "set AWS_REGION to the region of the deployment; `infra/run operator ENV` writes it into the settings file",
        ));
    };

    let config = bare.with_region(Some(region.clone()));
    let from_profile = ProfileFileCredentialsProvider::builder().configure(&config);
    let from_profile = match &profile {
        Some(name) => from_profile.profile_name(name),
        None => from_profile,
    };
    let chain_of_sources =
        CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("profile", from_profile.build())
            .or_else(
                "container",
                EcsCredentialsProvider::builder().configure(&config).build(),
            );
    let credentials = SharedCredentialsProvider::new(chain_of_sources);
    if let Err(error) = credentials.provide_credentials().await {
        return Err(Trouble::new(
            "aws_credentials_missing",
            format!("no AWS credentials: {}", chain(&error)),
            "sign in as for the `aws` command: `aws sso login --profile NAME` and AWS_PROFILE=NAME, or `aws configure`; \
             `aws sts get-caller-identity` shows who you are",
        ));
    }
    let source = Source {
        credentials,
        region,
        endpoint,
    };
    Ok(transport::aws::sdk_config_from(source, client.clone(), PATIENCE))
}
