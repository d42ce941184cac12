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
  name        = "${var.name_prefix}-${var.kind}"
  package     = coalesce(var.package, "${path.module}/../../target/lambda/lockstep-${var.kind}/bootstrap.zip")
  is_database = var.kind != "api-key"
  is_api_key  = var.kind == "api-key"
  # One of the two is enough here: Lambda then refuses the function and says that both are needed.
  in_vpc  = length(concat(var.subnet_ids, var.security_group_ids)) > 0
  watches = var.watch_schedule != "never"

  region  = data.aws_region.current.region
  account = data.aws_caller_identity.current.account_id
  arns    = "arn:${data.aws_partition.current.partition}"
  secrets = "${local.arns}:secretsmanager:${local.region}:${local.account}:secret:"
  served  = "${local.secrets}${var.secret_name_prefix}"
  # Built from the name, because with the function's own ARN the role and the function would depend on each other.
  function_arn = "${local.arns}:lambda:${local.region}:${local.account}:function:${local.name}"

  network_interfaces = [
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
  ]

  # Set but empty means none. If the variable were absent, every secret that the role can read would be allowed.
  limits = local.is_database ? {
    SUPERUSER_SECRET_ARNS = join(",", var.superuser_secret_arns)
    } : {
    ADMIN_SECRET_ARNS = join(",", var.admin_secret_arns)
  }
}

resource "aws_lambda_function" "rotation" {
  function_name    = local.name
  description      = "Rotates secrets (Lockstep, ${var.kind})"
  filename         = local.package
  source_code_hash = filebase64sha256(local.package)
  handler          = "bootstrap"
  runtime          = "provided.al2023"
  architectures    = [var.architecture]
  layers           = var.layer_arns
  memory_size      = var.memory_size
  timeout          = var.timeout
  role             = aws_iam_role.rotation.arn

  environment {
    variables = merge(local.limits, var.environment)
  }

  logging_config {
    log_group  = aws_cloudwatch_log_group.rotation.name
    log_format = "JSON"
    # All levels, because the function itself filters by LOG_LEVEL.
    application_log_level = "TRACE"
  }

  dynamic "vpc_config" {
    for_each = local.in_vpc ? [1] : []

    content {
      subnet_ids         = var.subnet_ids
      security_group_ids = var.security_group_ids
    }
  }

  # Lambda creates and deletes network interfaces with the role's permissions, even after the function is deleted.
  depends_on = [aws_iam_role_policy.rotation]
}

resource "aws_cloudwatch_log_group" "rotation" {
  name              = "/aws/lambda/${local.name}"
  retention_in_days = var.log_retention_days
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

resource "aws_iam_role" "rotation" {
  # The region is in the name because the roles of an account are shared by all regions.
  name               = "${local.name}-${local.region}"
  description        = "What the rotation function ${local.name} may do"
  assume_role_policy = data.aws_iam_policy_document.lambda.json
}

data "aws_iam_policy_document" "lambda" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "rotation" {
  name   = "rotation"
  role   = aws_iam_role.rotation.id
  policy = data.aws_iam_policy_document.rotation.json
}

data "aws_iam_policy_document" "rotation" {
  statement {
    sid = "SecretsThatNameThisFunction"
    actions = [
      "secretsmanager:DescribeSecret",
      "secretsmanager:GetSecretValue",
      "secretsmanager:PutSecretValue",
    ]
    resources = ["${local.served}*"]

    condition {
      test     = "StringEquals"
      variable = "secretsmanager:resource/AllowRotationLambdaArn"
      values   = [local.function_arn]
    }
  }

  # PutSecretValue moves AWSPENDING. IAM cannot limit the labels of that call.
  statement {
    sid       = "LabelsOfARotation"
    actions   = ["secretsmanager:UpdateSecretVersionStage"]
    resources = ["${local.served}*"]

    condition {
      test     = "StringEquals"
      variable = "secretsmanager:resource/AllowRotationLambdaArn"
      values   = [local.function_arn]
    }

    condition {
      test     = "ForAnyValue:StringEquals"
      variable = "secretsmanager:VersionStage"
      values   = var.kind == "mysql" ? ["AWSCURRENT", "LockstepRefused"] : ["AWSCURRENT"]
    }
  }

  # Shows ids, labels and dates of versions, and no value: for a secret's history, and to find a password in a version that has lost its
  # label.
  statement {
    sid       = "OlderVersions"
    actions   = ["secretsmanager:ListSecretVersionIds"]
    resources = ["${local.served}*"]

    condition {
      test     = "StringEquals"
      variable = "secretsmanager:resource/AllowRotationLambdaArn"
      values   = [local.function_arn]
    }
  }

  dynamic "statement" {
    for_each = local.is_database && length(var.superuser_secret_arns) > 0 ? [1] : []

    content {
      sid       = "SuperuserSecrets"
      actions   = ["secretsmanager:DescribeSecret"]
      resources = var.superuser_secret_arns
    }
  }

  dynamic "statement" {
    for_each = local.is_database && length(var.superuser_secret_arns) > 0 ? [1] : []

    content {
      sid       = "SuperuserPasswords"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = var.superuser_secret_arns

      condition {
        test     = "ForAnyValue:StringEquals"
        variable = "secretsmanager:VersionStage"
        values   = ["AWSCURRENT"]
      }
    }
  }

  # Finds the server of a superuser's secret that RDS manages.
  dynamic "statement" {
    for_each = local.is_database && length(var.superuser_secret_arns) > 0 ? [1] : []

    content {
      sid       = "ServersOfSuperusers"
      actions   = ["rds:DescribeDBInstances", "rds:DescribeDBClusters"]
      resources = [for kind in ["db", "cluster"] : "${local.arns}:rds:${local.region}:${local.account}:${kind}:*"]
    }
  }

  dynamic "statement" {
    for_each = local.is_api_key && length(var.admin_secret_arns) > 0 ? [1] : []

    content {
      sid       = "AdminSecrets"
      actions   = ["secretsmanager:DescribeSecret"]
      resources = var.admin_secret_arns
    }
  }

  dynamic "statement" {
    for_each = local.is_api_key && length(var.admin_secret_arns) > 0 ? [1] : []

    content {
      sid       = "AdminCredentials"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = var.admin_secret_arns

      condition {
        test     = "ForAnyValue:StringEquals"
        variable = "secretsmanager:VersionStage"
        values   = ["AWSCURRENT", "AWSPREVIOUS"]
      }
    }
  }

  dynamic "statement" {
    for_each = local.is_api_key && length(var.issuer_source_arns) > 0 ? [1] : []

    content {
      sid       = "DescriptionsOfIssuers"
      actions   = ["ssm:GetParameter", "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
      resources = var.issuer_source_arns
    }
  }

  dynamic "statement" {
    for_each = length(var.kms_key_arns) > 0 ? [1] : []

    content {
      sid       = "KeysOfTheSecrets"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = var.kms_key_arns

      # Only through Secrets Manager, and only for secrets of this account.
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${local.region}.${data.aws_partition.current.dns_suffix}"]
      }

      condition {
        test     = "StringLike"
        variable = "kms:EncryptionContext:SecretARN"
        values   = ["${local.secrets}*"]
      }
    }
  }

  # Shows names, tags and dates of all secrets, but no value. IAM has no narrower resource for this action.
  statement {
    sid       = "FindOverdueRotations"
    actions   = ["secretsmanager:ListSecrets"]
    resources = ["*"]
  }

  statement {
    sid       = "OwnLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:FilterLogEvents"]
    resources = ["${aws_cloudwatch_log_group.rotation.arn}:*"]
  }

  # Lambda needs these to attach the function to subnets. The next statement denies them to the function's code.
  dynamic "statement" {
    for_each = local.in_vpc ? [1] : []

    content {
      sid       = "NetworkInterfacesForLambda"
      actions   = local.network_interfaces
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = local.in_vpc ? [1] : []

    content {
      sid       = "NetworkInterfacesNotForTheCode"
      effect    = "Deny"
      actions   = local.network_interfaces
      resources = ["*"]

      condition {
        test     = "ArnEquals"
        variable = "lambda:SourceFunctionArn"
        values   = [local.function_arn]
      }
    }
  }
}
