# Whose environment this is. Two deployments of the same name would share a queue, overwrite each other's dashboard and
# take each other's webhook; so the name is taken before anything that bears it.

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = "aws" # The commercial one; var.region refuses the others.

  # Known before the first apply, since both parts are ours; and yet every resource whose name is made of it waits until
  # the parameter below exists, since it is read from there.
  name = join("-", slice(split("/", aws_ssm_parameter.owner.name), 1, 3))

  # IAM's roles and CloudWatch's dashboards have no region: the same environment in a second one must not meet them.
  global_name = "${local.name}-${var.region}"

  # Tells in Partner Center whose webhook is registered: `registration` replaces no other.
  mark = "${var.prefix}-${var.environment}-${substr(sha256("${local.account}:${var.region}"), 0, 8)}"
}

# Where this state's environment lives, as it was when it was first deployed. With another region, account or name in the
# settings Terraform would build a second environment and forget the first one with its data.
resource "terraform_data" "home" {
  input = {
    account     = local.account
    environment = var.environment
    prefix      = var.prefix
    region      = var.region
  }

  lifecycle {
    # Default: follows the settings. Then there would be nothing left to compare them with.
    ignore_changes = [input]

    postcondition {
      condition = self.output == {
        account     = local.account
        environment = var.environment
        prefix      = var.prefix
        region      = var.region
      }
      error_message = "This state belongs to environment ${self.output.environment} (prefix ${self.output.prefix}) in account ${self.output.account}, region ${self.output.region}; the settings or credentials name another. Correct them; to move an environment, destroy it there first and deploy it anew."
    }
  }
}

# Create-only: AWS refuses a second parameter of this name, Terraform stops there, and nothing else was created.
#
# Cure for "ParameterAlreadyExists": another state owns this environment. Its value says who deployed it first and when.
#   - Your own state is elsewhere (another machine, another folder, another backend)? Deploy with that one.
#   - You want a second connector in this account? Give it another `environment` or `prefix`.
#   - The other deployment is gone for good and only this parameter is left? Delete it by hand
#     (`aws ssm delete-parameter --name /PREFIX/ENVIRONMENT/owner`) and deploy again.
resource "aws_ssm_parameter" "owner" {
  #checkov:skip=CKV2_AWS_34:who deployed an environment is no secret, and the key is made after this
  #checkov:skip=CKV_AWS_337:the same
  name        = "/${var.prefix}/${var.environment}/owner"
  description = "Taken by one deployment of the co-sell connector; see infra/owner.tf."
  type        = "String"
  value       = "deployed first by ${data.aws_caller_identity.current.arn} at ${plantimestamp()}"

  # The region must be the right one before the name is taken there.
  depends_on = [terraform_data.home]

  lifecycle {
    # Default: follows the value. Who came first does not change.
    ignore_changes = [value]
  }
}
