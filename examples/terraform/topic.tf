# The topic that receives the alarms, unless alarm_topic_arn names another.

locals {
  own_topic = var.alarm_topic_arn == null
  topic_arn = local.own_topic ? aws_sns_topic.alarms[0].arn : var.alarm_topic_arn
}

resource "aws_sns_topic" "alarms" {
  count = local.own_topic ? 1 : 0

  name              = "${local.name}-alarms"
  display_name      = "${local.name} rotation"
  kms_master_key_id = aws_kms_key.alarms[0].arn
  tags              = var.tags
}

# A key of its own, because CloudWatch and EventBridge cannot use the AWS managed key aws/sns, whose policy cannot be changed.
resource "aws_kms_key" "alarms" {
  count = local.own_topic ? 1 : 0

  description             = "Encrypts alarms of ${local.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy                  = data.aws_iam_policy_document.key.json
  tags                    = var.tags
}

data "aws_iam_policy_document" "key" {
  statement {
    sid       = "PoliciesOfThisAccount"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["${local.arns}:iam::${local.account}:root"]
    }
  }

  statement {
    sid       = "PublishersOfAlarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "events.amazonaws.com"]
    }
  }
}

resource "aws_sns_topic_subscription" "mail" {
  count = var.alarm_email == "" ? 0 : 1

  topic_arn = local.topic_arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_sns_topic_policy" "alarms" {
  count = local.own_topic ? 1 : 0

  arn    = aws_sns_topic.alarms[0].arn
  policy = data.aws_iam_policy_document.alarms.json
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "AlarmsOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [local.topic_arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.arns}:cloudwatch:${local.region}:${local.account}:alarm:*"]
    }
  }

  # No condition, because EventBridge fills in none when it publishes to a topic.
  statement {
    sid       = "RulesOfEventBridge"
    actions   = ["sns:Publish"]
    resources = [local.topic_arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}
