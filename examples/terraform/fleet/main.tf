# A fleet: rotates the secrets of rotation functions in waves, or at once after a leak. docs/fleet.md says how to start a run.

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
  name    = "${var.name_prefix}-fleet"
  region  = data.aws_region.current.region
  account = data.aws_caller_identity.current.account_id
  arns    = "arn:${data.aws_partition.current.partition}"
  secrets = "${local.arns}:secretsmanager:${local.region}:${local.account}:secret:"
  served  = "${local.secrets}${var.secret_name_prefix}*"
  # By its name, because its own role needs it.
  machine_arn    = "${local.arns}:states:${local.region}:${local.account}:stateMachine:${local.name}"
  stop_parameter = "/${var.name_prefix}/fleet/stop"
  in_vpc         = length(concat(var.vpc_subnet_ids, var.vpc_security_group_ids)) > 0

  # In a module of a release the zips and the definition are in the directory above. In a clone of the repository `cargo lambda build` makes a zip.
  released = "${path.module}/../functions/lockstep-fleet-${var.architecture}.zip"
  built    = "${path.module}/../../../target/lambda/lockstep-fleet/bootstrap.zip"
  package  = var.package != null ? var.package : fileexists(local.released) ? local.released : local.built
  beside   = "${path.module}/../functions/state-machine.asl.json"
  source   = fileexists(local.beside) ? local.beside : "${path.module}/../../../functions/fleet/state-machine.asl.json"

  finds_leaks        = var.fingerprint_key_secret_arn != ""
  hears_webhook      = local.finds_leaks && var.webhook_secret_arn != ""
  writes_prints      = local.finds_leaks && var.fingerprint_schedule != "never"
  hears_aws_findings = local.finds_leaks && var.hear_aws_findings

  # The functions are the same program, each with a role of its own: whoever sees the page may invoke the second one, and strangers can send requests to the
  # third one.
  functions = merge({
    fleet = {
      name        = local.name
      description = "Takes each step of a run of the fleet (Lockstep)"
      # It may have to read the values of all secrets.
      timeout    = 900
      statements = local.of_fleet
      variables = {
        SERVES                 = "runs"
        AWS_ENDPOINT_URL_SSM   = var.ssm_endpoint
        STOP_PARAMETER         = local.stop_parameter
        FINGERPRINT_KEY_SECRET = var.fingerprint_key_secret_arn
      }
    }
    page = {
      name        = "${local.name}-page"
      description = "Plans the rotation of many secrets for a dashboard, and shows the runs (Lockstep)"
      timeout     = 900
      statements  = local.of_page
      variables = {
        SERVES               = "page"
        AWS_ENDPOINT_URL_SSM = var.ssm_endpoint
        AWS_ENDPOINT_URL_SFN = var.step_functions_endpoint
        STATE_MACHINE_ARN    = local.machine_arn
        STOP_PARAMETER       = local.stop_parameter
        ALLOW_PAGE_RUNS      = tostring(var.allow_page_runs)
      }
    }
    }, local.finds_leaks ? {
    leaks = {
      name        = "${local.name}-leaks"
      description = "Finds the secret of a leaked credential (Lockstep)"
      timeout     = var.timeout
      statements  = local.of_leaks
      variables = {
        AWS_ENDPOINT_URL_SFN   = var.step_functions_endpoint
        FINGERPRINT_KEY_SECRET = var.fingerprint_key_secret_arn
        WEBHOOK_SECRET         = var.webhook_secret_arn
        GITHUB_TOKEN_SECRET    = var.github_token_secret_arn
        GITHUB_API_URL         = var.github_api_url
        CA_BUNDLE              = var.ca_bundle
        STATE_MACHINE_ARN      = local.machine_arn
        START_ON_LEAK          = tostring(var.start_on_leak)
        # Whoever may report a leak may not rotate.
        SERVES = "leaks"
      }
    }
  } : {})
}

resource "aws_lambda_function" "of_the_fleet" {
  for_each = local.functions

  function_name = each.value.name
  description   = each.value.description
  tags          = var.tags

  filename         = local.package
  source_code_hash = filebase64sha256(local.package)
  handler          = "bootstrap"
  runtime          = "provided.al2023"
  architectures    = [var.architecture]
  layers           = var.layer_arns
  memory_size      = var.memory_size
  timeout          = each.value.timeout
  role             = aws_iam_role.of_a_function[each.key].arn

  environment {
    variables = merge({
      LOG_LEVEL                = var.log_level
      SECRETS_MANAGER_ENDPOINT = var.secrets_manager_endpoint
    }, each.value.variables)
  }

  logging_config {
    log_group  = aws_cloudwatch_log_group.of_a_function[each.key].name
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

  depends_on = [aws_iam_role_policy.of_a_function]

  lifecycle {
    precondition {
      condition     = local.finds_leaks || !(var.webhook_secret_arn != "" || var.hear_aws_findings || var.start_on_leak)
      error_message = "webhook_secret_arn, hear_aws_findings and start_on_leak need fingerprint_key_secret_arn."
    }

    precondition {
      condition     = var.webhook_secret_arn != "" || !(var.github_token_secret_arn != "" || var.github_api_url != "")
      error_message = "github_token_secret_arn and github_api_url need webhook_secret_arn."
    }

    precondition {
      condition     = length(var.function_arns) > 0
      error_message = "function_arns names no rotation function."
    }
  }
}

resource "aws_cloudwatch_log_group" "of_a_function" {
  for_each = { for key, it in local.functions : key => it.name }

  name              = "/aws/lambda/${each.value}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}

# "stop", or the name of a run, stops it before its next part. A value that people wrote stays.
resource "aws_ssm_parameter" "stop" {
  name        = local.stop_parameter
  type        = "String"
  value       = "go"
  description = "stop, or the name of a run of ${local.name}, stops it before its next part"
  tags        = var.tags

  lifecycle {
    ignore_changes = [value]
  }
}

# It logs nothing itself: an execution keeps its history for 90 days, and the function writes the audit records.
resource "aws_sfn_state_machine" "fleet" {
  name       = local.name
  type       = "STANDARD"
  role_arn   = aws_iam_role.machine.arn
  definition = replace(trimspace(file(local.source)), "$${FleetFunctionArn}", aws_lambda_function.of_the_fleet["fleet"].arn)
  tags       = var.tags

  tracing_configuration {
    enabled = var.tracing == "Active"
  }

  depends_on = [aws_iam_role_policy.machine]
}
