# Which Terraform and which provider read these files, where the state lies, and how AWS is reached.

terraform {
  # 1.11: S3 state locks itself (`use_lockfile`), and mocks may be shared between test files.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 5.x and 6.x alike: nothing is used that 6.0 removed or renamed. 7 is not out; it will be tried before it is allowed.
      version = ">= 5.80, < 7.0"
    }
  }

  # One state per environment: `infra/run` names environments/ENV.tfstate, or replaces this block by an S3 backend when
  # environments/ENV.s3.tfbackend exists. A path here would be shared by all environments.
  backend "local" {}
}

provider "aws" {
  region = var.region

  # Default: any account. Credentials of another account are then refused before a single call is made.
  allowed_account_ids = var.account_id == null ? null : [var.account_id]

  # Default: none. They tell in every bill and list whose a resource is.
  default_tags {
    tags = merge({ application = "cosell-connector", environment = var.environment }, var.tags)
  }
}

# Only the number of the account and who asks; both are known before anything is planned.
data "aws_caller_identity" "current" {}
