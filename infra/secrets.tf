# Two empty secrets. Their values are put there by the admin's command, never by Terraform: they would stand in its state.

resource "aws_secretsmanager_secret" "partner_center" {
  #checkov:skip=CKV2_AWS_57:a person consents with MFA; the functions store each renewed refresh token themselves
  # A prefix: a secret that waits for its deletion still holds its name, and a new deployment shall not wait for that.
  name_prefix             = "${local.name}-partner-center-"
  description             = "Partner Center: client_id, client_secret, refresh_token. Written by the consent and by the functions."
  kms_key_id              = local.key_arn            # Default: Secrets Manager's own key.
  recovery_window_in_days = var.secret_recovery_days # Default: 30 days, as the variable's.
}

resource "aws_secretsmanager_secret" "dataverse" {
  #checkov:skip=CKV2_AWS_57:the client secret is made in Entra, which Secrets Manager cannot rotate
  name_prefix             = "${local.name}-dataverse-" # As above.
  description             = "Dynamics 365: client_id, client_secret of the application user."
  kms_key_id              = local.key_arn            # Default: Secrets Manager's own key.
  recovery_window_in_days = var.secret_recovery_days # Default: 30 days, as the variable's.
}

# Only whether there is a value, never the value.
data "aws_secretsmanager_secret_versions" "partner_center" {
  secret_id = aws_secretsmanager_secret.partner_center.id
}

data "aws_secretsmanager_secret_versions" "dataverse" {
  secret_id = aws_secretsmanager_secret.dataverse.id
}

locals {
  # The provider answers null, not an empty list, for a secret that has no version yet.
  stages = {
    for name, found in {
      partner_center = data.aws_secretsmanager_secret_versions.partner_center.versions
      dataverse      = data.aws_secretsmanager_secret_versions.dataverse.versions
    } : name => flatten([for version in(found == null ? [] : found) : version.version_stages])
  }

  has_consent = contains(local.stages.partner_center, "AWSCURRENT")
  # Until both are there nothing can be read from either vendor: schedules stay off, and alarms expect no figures.
  has_credentials = local.has_consent && contains(local.stages.dataverse, "AWSCURRENT")
}
