terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # What differs between the functions. A new kind needs an entry here, in the variable `kind`, and its own variables in settings.tf.
  kinds = {
    postgres = {
      rotates           = "the passwords of PostgreSQL users"
      reads             = "superusers"
      labels            = ["AWSCURRENT"]
      searches_versions = true
      keeps_journal     = false
      renews            = false
      makes_first_value = false
    }
    mysql = {
      rotates           = "the passwords of MySQL and MariaDB users"
      reads             = "superusers"
      labels            = ["AWSCURRENT", "LockstepRefused"]
      searches_versions = true
      keeps_journal     = false
      renews            = false
      makes_first_value = false
    }
    api-key = {
      rotates           = "API keys over HTTP"
      reads             = "admins"
      labels            = ["AWSCURRENT"]
      searches_versions = true
      keeps_journal     = true
      renews            = false
      makes_first_value = false
    }
    signing-key = {
      rotates           = "keys that sign tokens, and publishes their public parts"
      reads             = "nothing else"
      labels            = ["AWSCURRENT"]
      searches_versions = true
      keeps_journal     = false
      renews            = false
      makes_first_value = true
    }
    tls = {
      rotates           = "TLS certificates of ACME CAs, and the keys of accounts there"
      reads             = "accounts"
      labels            = ["AWSCURRENT"]
      searches_versions = true
      keeps_journal     = false
      renews            = true
      makes_first_value = true
    }
  }
  is   = local.kinds[var.kind]
  name = "${var.name_prefix}-${var.kind}"

  # In a module of a release the zips are beside this file. In a clone of the repository `cargo lambda build` makes one.
  released = "${path.module}/functions/lockstep-${var.kind}-${var.architecture}.zip"
  built    = "${path.module}/../../target/lambda/lockstep-${var.kind}/bootstrap.zip"
  package  = var.package != null ? var.package : fileexists(local.released) ? local.released : local.built

  # One of the two is enough here: Lambda then refuses the function and says that both are needed.
  in_vpc  = length(concat(var.vpc_subnet_ids, var.vpc_security_group_ids)) > 0
  watches = var.watch_schedule != "never"

  region  = data.aws_region.current.region
  account = data.aws_caller_identity.current.account_id
  arns    = "arn:${data.aws_partition.current.partition}"
  # The beginning of the ARNs of all secrets, and of those that the function may rotate.
  secrets = "${local.arns}:secretsmanager:${local.region}:${local.account}:secret:"
  served  = "${local.secrets}${var.secret_name_prefix}"
  # Secrets, and patterns of secrets, that a rotated secret may name.
  superusers = concat(var.superuser_secret_arns, [for it in compact([var.superuser_secret_name_prefix]) : "${local.secrets}${it}*"])
  admins     = concat(var.admin_secret_arns, [for it in compact([var.admin_secret_name_prefix]) : "${local.secrets}${it}*"])
  # Built from the name, because with the function's own ARN the role and the function would depend on each other.
  function_arn = "${local.arns}:lambda:${local.region}:${local.account}:function:${local.name}"
}

resource "aws_lambda_function" "rotation" {
  function_name = local.name
  description   = "Rotates ${local.is.rotates} (Lockstep)"
  tags          = var.tags

  filename          = var.s3_bucket == null ? local.package : null
  source_code_hash  = var.s3_bucket == null ? filebase64sha256(local.package) : null
  s3_bucket         = var.s3_bucket
  s3_key            = var.s3_key
  s3_object_version = var.s3_object_version
  handler           = "bootstrap"
  runtime           = "provided.al2023"
  architectures     = [var.architecture]
  layers            = var.layer_arns

  memory_size                    = var.memory_size
  timeout                        = var.timeout
  reserved_concurrent_executions = var.reserved_concurrency
  role                           = aws_iam_role.rotation.arn

  environment {
    variables = merge(local.variables, var.environment)
  }

  logging_config {
    log_group  = aws_cloudwatch_log_group.rotation.name
    log_format = "JSON"
    # All levels, because the function itself filters by LOG_LEVEL.
    application_log_level = "TRACE"
  }

  tracing_config {
    mode = var.tracing
  }

  dynamic "vpc_config" {
    for_each = local.in_vpc ? [1] : []

    content {
      subnet_ids         = var.vpc_subnet_ids
      security_group_ids = var.vpc_security_group_ids
    }
  }

  # Lambda creates and deletes network interfaces with the role's permissions, even after the function is deleted.
  depends_on = [aws_iam_role_policy.rotation]

  lifecycle {
    precondition {
      condition     = length(local.misplaced) == 0
      error_message = "The function of the kind ${var.kind} does not read ${join(", ", local.misplaced)}. Remove what sets it."
    }

    precondition {
      condition     = (var.s3_bucket == null) == (var.s3_key == null) && (var.s3_bucket == null || var.package == null)
      error_message = "The zip is either in `package`, or in `s3_bucket` under `s3_key`."
    }

    precondition {
      condition     = var.secret_tag_value == "" || var.secret_tag_key != ""
      error_message = "secret_tag_value needs secret_tag_key."
    }
  }
}

resource "aws_cloudwatch_log_group" "rotation" {
  name              = "/aws/lambda/${local.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}

# Lets Secrets Manager invoke the function, but only on behalf of this account.
resource "aws_lambda_permission" "secrets_manager" {
  statement_id   = "SecretsManager"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.rotation.function_name
  principal      = "secretsmanager.amazonaws.com"
  source_account = local.account
}

resource "aws_secretsmanager_secret_rotation" "served" {
  for_each = var.secrets

  secret_id           = each.value.arn
  rotation_lambda_arn = aws_lambda_function.rotation.arn
  # The provider's default is true, and rotates whenever one of these arguments changes.
  rotate_immediately = each.value.rotate_immediately

  rotation_rules {
    schedule_expression = each.value.schedule
    duration            = each.value.window
  }

  # Without the permission, Secrets Manager refuses the function. With this order, `destroy` first turns rotation off.
  depends_on = [aws_lambda_permission.secrets_manager]
}
