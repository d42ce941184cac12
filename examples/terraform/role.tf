# What the function may do. docs/deploy.md#permissions explains each statement.

locals {
  network_interfaces = [
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
  ]
}

resource "aws_iam_role" "rotation" {
  # The region is in the name because the roles of an account are shared by all regions.
  name                 = "${local.name}-${local.region}"
  description          = "Role of the rotation function ${local.name}"
  path                 = var.role_path
  permissions_boundary = var.permissions_boundary_arn
  assume_role_policy   = data.aws_iam_policy_document.lambda.json
  tags                 = var.tags
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
      values   = local.is.labels
    }
  }

  # For a secret's history, and to find a password in a version that has lost its label. Shows ids, labels and dates, and no value.
  dynamic "statement" {
    for_each = local.is.searches_versions ? [1] : []

    content {
      sid       = "OlderVersions"
      actions   = ["secretsmanager:ListSecretVersionIds"]
      resources = ["${local.served}*"]

      condition {
        test     = "StringEquals"
        variable = "secretsmanager:resource/AllowRotationLambdaArn"
        values   = [local.function_arn]
      }
    }
  }

  dynamic "statement" {
    for_each = var.allow_rotate_now ? [1] : []

    content {
      sid       = "RotateNow"
      actions   = ["secretsmanager:RotateSecret"]
      resources = ["${local.served}*"]

      condition {
        test     = "StringEquals"
        variable = "secretsmanager:resource/AllowRotationLambdaArn"
        values   = [local.function_arn]
      }
    }
  }

  # RotateSecret requires that its caller may invoke the function that rotates the secret.
  dynamic "statement" {
    for_each = var.allow_rotate_now || local.is.renews ? [1] : []

    content {
      sid       = "RotateBySecretsManager"
      actions   = ["lambda:InvokeFunction"]
      resources = [local.function_arn]
    }
  }

  # A condition on the statements above would also require the tag on superuser and admin secrets.
  dynamic "statement" {
    for_each = compact([var.secret_tag_key])

    content {
      sid    = "SecretsWithoutTheTag"
      effect = "Deny"
      actions = [
        "secretsmanager:DescribeSecret",
        "secretsmanager:ListSecretVersionIds",
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
        "secretsmanager:RotateSecret",
        "secretsmanager:TagResource",
        "secretsmanager:UpdateSecret",
        "secretsmanager:UpdateSecretVersionStage",
      ]
      resources = ["*"]

      condition {
        test     = "StringEquals"
        variable = "secretsmanager:resource/AllowRotationLambdaArn"
        values   = [local.function_arn]
      }

      condition {
        test     = "StringNotEquals"
        variable = "secretsmanager:ResourceTag/${statement.value}"
        values   = [var.secret_tag_value]
      }
    }
  }

  dynamic "statement" {
    for_each = length(local.superusers) > 0 ? [1] : []

    content {
      sid       = "SuperuserSecrets"
      actions   = ["secretsmanager:DescribeSecret"]
      resources = local.superusers
    }
  }

  dynamic "statement" {
    for_each = length(local.superusers) > 0 ? [1] : []

    content {
      sid       = "SuperuserPasswords"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = local.superusers

      condition {
        test     = "ForAnyValue:StringEquals"
        variable = "secretsmanager:VersionStage"
        values   = ["AWSCURRENT"]
      }
    }
  }

  # Finds the server of a superuser's secret that RDS manages.
  dynamic "statement" {
    for_each = length(local.superusers) > 0 ? [1] : []

    content {
      sid       = "ServersOfSuperusers"
      actions   = ["rds:DescribeDBInstances", "rds:DescribeDBClusters"]
      resources = [for it in ["db", "cluster"] : "${local.arns}:rds:${local.region}:${local.account}:${it}:*"]
    }
  }

  dynamic "statement" {
    for_each = length(local.admins) > 0 ? [1] : []

    content {
      sid       = "AdminSecrets"
      actions   = ["secretsmanager:DescribeSecret"]
      resources = local.admins
    }
  }

  dynamic "statement" {
    for_each = length(local.admins) > 0 ? [1] : []

    content {
      sid       = "AdminCredentials"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = local.admins

      condition {
        test     = "ForAnyValue:StringEquals"
        variable = "secretsmanager:VersionStage"
        values   = ["AWSCURRENT", "AWSPREVIOUS"]
      }
    }
  }

  dynamic "statement" {
    for_each = length(var.issuer_source_arns) > 0 ? [1] : []

    content {
      sid       = "DescriptionsOfIssuers"
      actions   = ["ssm:GetParameter", "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
      resources = var.issuer_source_arns
    }
  }

  dynamic "statement" {
    for_each = local.place_statements

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }

  dynamic "statement" {
    for_each = length(var.account_secret_arns) > 0 ? [1] : []

    content {
      sid       = "AccountKeys"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = var.account_secret_arns

      condition {
        test     = "ForAnyValue:StringEquals"
        variable = "secretsmanager:VersionStage"
        values   = ["AWSCURRENT"]
      }
    }
  }

  dynamic "statement" {
    for_each = local.answers ? [1] : []

    content {
      sid       = "ChallengesInHostedZones"
      actions   = ["route53:ChangeResourceRecordSets"]
      resources = var.hosted_zone_arns

      condition {
        test     = "ForAllValues:StringEquals"
        variable = "route53:ChangeResourceRecordSetsRecordTypes"
        values   = ["TXT"]
      }

      # A delegation may lead to a name of any form.
      condition {
        test     = "ForAllValues:StringLike"
        variable = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
        values   = var.challenge_names
      }
    }
  }

  # The daily look begins a rotation once the CA suggests it.
  dynamic "statement" {
    for_each = local.is.renews ? [1] : []

    content {
      sid       = "RenewCertificates"
      actions   = ["secretsmanager:RotateSecret"]
      resources = ["${local.served}*"]

      condition {
        test     = "StringEquals"
        variable = "secretsmanager:resource/AllowRotationLambdaArn"
        values   = [local.function_arn]
      }
    }
  }

  dynamic "statement" {
    for_each = length(var.kms_key_arns) > 0 ? [1] : []

    content {
      sid       = "KeysOfTheSecrets"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = var.kms_key_arns

      # Only through Secrets Manager, and only for secrets of this account. In China the service's name may end in either.
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = distinct([for it in ["amazonaws.com", data.aws_partition.current.dns_suffix] : "secretsmanager.${local.region}.${it}"])
      }

      condition {
        test     = "StringLike"
        variable = "kms:EncryptionContext:SecretARN"
        values   = ["${local.secrets}*"]
      }
    }
  }

  # For the daily look. These actions show the state of a key and use none. Some keys are in other accounts.
  dynamic "statement" {
    for_each = length(var.kms_key_arns) > 0 ? [1] : []

    content {
      sid       = "StatesOfKeys"
      actions   = ["kms:DescribeKey", "kms:GetKeyRotationStatus"]
      resources = ["${local.arns}:kms:*:*:key/*"]
    }
  }

  # Shows names, tags and dates of all secrets, but no value. IAM has no narrower resource for this action.
  statement {
    sid       = "FindOverdueRotations"
    actions   = ["secretsmanager:ListSecrets"]
    resources = ["*"]
  }

  # Built from the name, so that `terraform plan` can show the whole policy.
  statement {
    sid       = "OwnLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:FilterLogEvents"]
    resources = ["${local.arns}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${local.name}:*"]
  }

  # IAM has no narrower resource for these actions.
  dynamic "statement" {
    for_each = var.tracing == "Active" ? [1] : []

    content {
      sid       = "Traces"
      actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
      resources = ["*"]
    }
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
