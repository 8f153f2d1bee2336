# What all three functions share.

locals {
  zip = { for name in ["webhook", "sync", "registration"] : name => "${path.module}/${var.zip_folder}/${name}.zip" }

  metrics_namespace = "CosellConnector/${local.name}"

  common_settings = {
    LOG_LEVEL         = var.log_level
    METRICS_NAMESPACE = local.metrics_namespace
  }

  # Where Microsoft's tokens come from and where the credential for Partner Center lies: sync and registration.
  partner_center_settings = {
    ENTRA_URL             = var.entra_url
    PARTNER_TENANT_ID     = var.partner_tenant_id
    PARTNER_CENTER_SECRET = aws_secretsmanager_secret.partner_center.arn
  }

  # The conditions under which the key may be used: through one service, never directly.
  via = {
    for service in ["dynamodb", "secretsmanager", "sqs"] :
    service => { StringEquals = { "kms:ViaService" = ["${service}.${var.region}.amazonaws.com"] } }
  }
}
