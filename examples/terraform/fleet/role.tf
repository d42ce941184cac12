# What the fleet may do. docs/deploy.md#permissions explains each statement.

locals {
  of_these_functions = { "secretsmanager:resource/AllowRotationLambdaArn" = var.function_arns }
  own_functions      = { for it in ["", "-page", "-leaks"] : "fleet${it}" => "${local.arns}:lambda:${local.region}:${local.account}:function:${local.name}${it}" }
  # In China the service's name may end in either.
  through_secrets_manager = {
    StringEquals = { "kms:ViaService" = ["secretsmanager.${local.region}.amazonaws.com", "secretsmanager.${local.region}.${data.aws_partition.current.dns_suffix}"] }
    StringLike   = { "kms:EncryptionContext:SecretARN" = "${local.secrets}*" }
  }
  network_interfaces = [
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
  ]

  # What all functions may do.
  common = flatten([
    { Sid = "FindOverdueRotations", Effect = "Allow", Action = "secretsmanager:ListSecrets", Resource = "*" },
    [for keys in [var.kms_key_arns] : {
      Sid = "KeysOfTheSecrets", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = keys, Condition = local.through_secrets_manager
    } if length(keys) > 0],
    # The roles of all functions have it: it shows the state of a key and uses none.
    [for keys in [var.kms_key_arns] : {
      Sid = "StatesOfKeys", Effect = "Allow", Action = ["kms:DescribeKey", "kms:GetKeyRotationStatus"], Resource = "${local.arns}:kms:*:*:key/*"
    } if length(keys) > 0],
    [for mode in [var.tracing] : {
      Sid = "Traces", Effect = "Allow", Action = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], Resource = "*"
    } if mode == "Active"],
    [for effect in ["Allow"] : {
      Sid = "NetworkInterfacesForLambda", Effect = effect, Action = local.network_interfaces, Resource = "*"
    } if local.in_vpc],
    [for effect in ["Deny"] : {
      Sid       = "NetworkInterfacesNotForTheCode", Effect = effect, Action = local.network_interfaces, Resource = "*"
      Condition = { ArnEquals = { "lambda:SourceFunctionArn" = values(local.own_functions) } }
    } if local.in_vpc],
  ])

  fingerprint_key = [for secret in compact([var.fingerprint_key_secret_arn]) : {
    Sid = "KeyOfTheFingerprints", Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = secret
  }]

  stop_flag = {
    Sid      = "StopFlag", Effect = "Allow", Action = "ssm:GetParameter"
    Resource = "${local.arns}:ssm:${local.region}:${local.account}:parameter${local.stop_parameter}"
  }

  # Denies what secrets without the tag would allow.
  only_tagged = [for key in compact([var.secret_tag_key]) : {
    Sid    = "SecretsWithoutTheTag"
    Effect = "Deny"
    Action = [for it in [
      "DescribeSecret", "ListSecretVersionIds", "GetSecretValue", "PutSecretValue", "RotateSecret", "TagResource", "UpdateSecret", "UpdateSecretVersionStage",
    ] : "secretsmanager:${it}"]
    Resource  = "*"
    Condition = { StringEquals = local.of_these_functions, StringNotEquals = { "secretsmanager:ResourceTag/${key}" = var.secret_tag_value } }
  }]

  of_fleet = flatten([
    local.common,
    {
      Sid      = "SecretsOfTheFleet"
      Effect   = "Allow"
      Action   = [for it in ["DescribeSecret", "GetSecretValue", "ListSecretVersionIds", "RotateSecret"] : "secretsmanager:${it}"]
      Resource = local.served
      # RotateSecret may not give a secret to another function.
      Condition = { StringEquals = local.of_these_functions, Null = { "secretsmanager:RotationLambdaARN" = "true" } }
    },
    { Sid = "RotateBySecretsManager", Effect = "Allow", Action = "lambda:InvokeFunction", Resource = var.function_arns },
    {
      Sid       = "RollBack"
      Effect    = "Allow"
      Action    = "secretsmanager:UpdateSecretVersionStage"
      Resource  = local.served
      Condition = { StringEquals = local.of_these_functions, "ForAnyValue:StringEquals" = { "secretsmanager:VersionStage" = "AWSCURRENT" } }
    },
    local.stop_flag,
    local.fingerprint_key,
    # No other tag: one could allow an emergency, or access.
    [for it in local.fingerprint_key : {
      Sid       = "TagsWithFingerprints", Effect = "Allow", Action = "secretsmanager:TagResource", Resource = local.served
      Condition = { StringEquals = local.of_these_functions, "ForAllValues:StringEquals" = { "aws:TagKeys" = "lockstep:fingerprints" } }
    }],
    # It could also write a value: IAM cannot allow the key alone.
    [for keys in [var.rekey_kms_key_arns] : {
      Sid       = "RekeyTheFleet", Effect = "Allow", Action = "secretsmanager:UpdateSecret", Resource = local.served
      Condition = { StringEquals = local.of_these_functions, ArnEquals = { "secretsmanager:KmsKeyArn" = keys } }
    } if length(keys) > 0],
    [for keys in [var.rekey_kms_key_arns] : {
      Sid       = "NewKeys", Effect = "Allow", Action = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"], Resource = keys
      Condition = local.through_secrets_manager
    } if length(keys) > 0],
    [for keys in [var.rekey_kms_key_arns] : {
      Sid = "WhetherAKeyCanBeUsed", Effect = "Allow", Action = "kms:DescribeKey", Resource = keys
    } if length(keys) > 0],
    local.only_tagged,
  ])

  # Whoever sees the page may invoke this one. It rotates nothing.
  of_page = flatten([
    local.common,
    {
      Sid       = "SecretsOfThePlans", Effect = "Allow", Action = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
      Resource  = local.served
      Condition = { StringEquals = local.of_these_functions }
    },
    local.stop_flag,
    {
      Sid      = "RunsForThePage", Effect = "Allow", Action = ["states:ListExecutions", "states:DescribeExecution"]
      Resource = [local.machine_arn, "${local.arns}:states:${local.region}:${local.account}:execution:${local.name}:*"]
    },
    [for machine in [local.machine_arn] : {
      Sid = "RunFromThePage", Effect = "Allow", Action = "states:StartExecution", Resource = machine
    } if var.allow_page_runs],
    [for parameter in [local.stop_parameter] : {
      Sid      = "StopFromThePage", Effect = "Allow", Action = "ssm:PutParameter"
      Resource = "${local.arns}:ssm:${local.region}:${local.account}:parameter${parameter}"
    } if var.allow_page_runs],
    local.only_tagged,
  ])

  of_leaks = flatten([
    local.common,
    local.fingerprint_key,
    [for secret in compact([var.webhook_secret_arn]) : {
      Sid = "SecretOfTheWebhook", Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = secret
    }],
    [for secret in compact([var.github_token_secret_arn]) : {
      Sid = "TokenForAlerts", Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = secret
    }],
    [for machine in [local.machine_arn] : {
      Sid = "StartAnEmergency", Effect = "Allow", Action = "states:StartExecution", Resource = machine
    } if var.start_on_leak],
    [for it in ["leak-*"] : {
      Sid      = "WhetherItHasFailed", Effect = "Allow", Action = "states:DescribeExecution"
      Resource = "${local.arns}:states:${local.region}:${local.account}:execution:${local.name}:${it}"
    } if var.start_on_leak],
  ])

  of_machine = flatten([
    { Sid = "TakeEachStep", Effect = "Allow", Action = "lambda:InvokeFunction", Resource = local.own_functions["fleet"] },
    { Sid = "AskWhetherASecretIsWell", Effect = "Allow", Action = "lambda:InvokeFunction", Resource = var.function_arns },
    # A distributed Map runs each lane as an execution of the same machine.
    { Sid = "BeginLanes", Effect = "Allow", Action = "states:StartExecution", Resource = local.machine_arn },
    {
      Sid      = "FollowLanes"
      Effect   = "Allow"
      Action   = ["states:DescribeExecution", "states:StopExecution"]
      Resource = [for it in [":*", "/*"] : "${local.arns}:states:${local.region}:${local.account}:execution:${local.name}${it}"]
    },
    [for mode in [var.tracing] : {
      Sid    = "Traces", Effect = "Allow", Resource = "*"
      Action = [for it in ["PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules", "GetSamplingTargets"] : "xray:${it}"]
    } if mode == "Active"],
  ])

  of_people = [
    # An emergency after a leak, and any other order: IAM does not see what is in it.
    {
      Sid      = "RunTheFleet"
      Effect   = "Allow"
      Action   = [for it in ["StartExecution", "StopExecution", "ListExecutions", "DescribeExecution", "GetExecutionHistory"] : "states:${it}"]
      Resource = [local.machine_arn, "${local.arns}:states:${local.region}:${local.account}:execution:${local.name}:*"]
    },
    {
      Sid      = "StopTheFleet"
      Effect   = "Allow"
      Action   = ["ssm:GetParameter", "ssm:PutParameter"]
      Resource = "${local.arns}:ssm:${local.region}:${local.account}:parameter${local.stop_parameter}"
    },
    # Not the function that takes the state of a run from whoever invokes it.
    { Sid = "AskTheFleet", Effect = "Allow", Action = "lambda:InvokeFunction", Resource = [for it in ["fleet-page", "fleet-leaks"] : local.own_functions[it]] },
    {
      Sid      = "LookAtTheFleet"
      Effect   = "Allow"
      Action   = [for it in ["GetFunction", "GetFunctionConfiguration", "GetFunctionConcurrency", "GetPolicy"] : "lambda:${it}"]
      Resource = values(local.own_functions)
    },
    {
      Sid      = "ReadTheFleetsLogs"
      Effect   = "Allow"
      Action   = ["logs:FilterLogEvents", "logs:StartQuery"]
      Resource = [for it in ["", "-page", "-leaks"] : "${local.arns}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${local.name}${it}:*"]
    },
  ]
}

resource "aws_iam_role" "of_a_function" {
  for_each = { for key, it in local.functions : key => it.name }

  # The region is in the name because the roles of an account are shared by all regions.
  name                 = "${each.value}-${local.region}"
  description          = "Role of the function ${each.value}"
  path                 = var.role_path
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "lambda.amazonaws.com" } }]
  })
}

resource "aws_iam_role_policy" "of_a_function" {
  for_each = local.functions

  name = "rotation"
  role = aws_iam_role.of_a_function[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = flatten([each.value.statements, {
      Sid      = "OwnLogs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.of_a_function[each.key].arn}:*"
    }])
  })
}

resource "aws_iam_role" "machine" {
  name                 = "${local.name}-machine-${local.region}"
  description          = "Role of the state machine ${local.name}"
  path                 = var.role_path
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "states.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account }, ArnLike = { "aws:SourceArn" = local.machine_arn } }
    }]
  })
}

resource "aws_iam_role_policy" "machine" {
  name   = "rotation"
  role   = aws_iam_role.machine.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.of_machine })
}

# For people who may begin and stop runs.
resource "aws_iam_policy" "on_call" {
  name        = "${local.name}-on-call-${local.region}"
  description = "Begin, watch and stop runs of ${local.name}"
  path        = var.role_path
  policy      = jsonencode({ Version = "2012-10-17", Statement = local.of_people })
  tags        = var.tags
}
