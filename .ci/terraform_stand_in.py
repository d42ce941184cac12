"""Stands in for Terraform's AWS provider, so that `terraform plan` computes every value of a module without AWS and without a download.

The stand-in speaks version 5 of the provider protocol (docs/plugin-protocol in the sources of Terraform). It needs few of the messages. The types
of attributes are those of the real provider (terraform_types.json): a name or a type that the provider does not have fails here as well.
What the real provider would only know from AWS, such as the ARN of a function, is made up from names. It calls nothing."""

import contextlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import msgpack

TYPES = json.loads(Path(__file__).with_name("terraform_types.json").read_text(encoding="utf-8"))
NESTINGS = {"single": 1, "list": 2, "set": 3}
ACCOUNT = "123456789012"
# ARNs as AWS makes them.
ARNS = {
    "aws_lambda_function": "lambda:{region}:{account}:function:{function_name}",
    "aws_cloudwatch_log_group": "logs:{region}:{account}:log-group:{name}",
    "aws_iam_role": "iam::{account}:role{path}{name}",
    "aws_sns_topic": "sns:{region}:{account}:{name}",
    "aws_cloudwatch_event_rule": "events:{region}:{account}:rule/{name}",
    "aws_cloudwatch_metric_alarm": "cloudwatch:{region}:{account}:alarm:{alarm_name}",
    "aws_iam_policy": "iam::{account}:policy{path}{name}",
    "aws_sfn_state_machine": "states:{region}:{account}:stateMachine:{name}",
    "aws_ssm_parameter": "ssm:{region}:{account}:parameter{name}",
    "aws_kms_key": "kms:{region}:{account}:key/1234abcd-12ab-34cd-56ef-1234567890ab",
}
# What the real provider takes where the configuration says nothing.
DEFAULTS = {"aws_iam_role": {"path": "/"}, "aws_iam_policy": {"path": "/"}, "aws_apigatewayv2_api": {"api_endpoint": "https://api"}, "aws_lambda_function": {"package_type": "Zip"}}


# ---- Protocol buffers: a message as a list of fields, because the protocol's own definitions are not needed for so little ----

def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def message(*fields):
    """The bytes of a message: pairs of a field's number and its value. A list is a repeated field, and None or an empty value is left out."""
    out = b""
    for number, value in fields:
        for it in value if isinstance(value, list) else [value]:
            if isinstance(it, (bool, int)):
                out += varint(number << 3) + varint(int(it)) if it else b""
            elif it is not None:
                it = it.encode() if isinstance(it, str) else it
                out += varint(number << 3 | 2) + varint(len(it)) + it
    return out


def fields(data):
    """The last value of each field of a message."""
    found, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            found[key >> 3] = number()
        else:
            length = number()
            found[key >> 3] = data[at:at + length]
            at += length
    return found


# ---- Values and schemas ----

def dynamic(value):
    return message((1, msgpack.packb(value)))


def value_of(data):
    found = fields(data or b"")
    if 1 in found:
        return msgpack.unpackb(found[1], strict_map_key=False, ext_hook=lambda code, content: None)
    return json.loads(found[2]) if 2 in found else None


def schema(block, version=0):
    return message((1, version), (2, schema_block(block)))


def schema_block(block):
    attributes = [
        message((1, name), (2, json.dumps(kind)), (4, "r" in mode), (5, "o" in mode), (6, "c" in mode))
        for name, (kind, mode) in sorted(block["attributes"].items())
    ]
    blocks = [
        message((1, name), (2, schema_block(it)), (3, NESTINGS[it["nesting"]]), (5, it.get("max", 0) if it["nesting"] != "single" else 0))
        for name, it in sorted(block["blocks"].items())
    ]
    return message((2, attributes), (3, blocks))


# ---- What the resources and data sources are ----

class Provider:
    def __init__(self, region, partition, suffix):
        self.place = {"region": region, "account": ACCOUNT}
        self.partition, self.suffix = partition, suffix

    def planned(self, kind, proposed):
        """What a new resource will be."""
        value = dict(proposed)
        for name, default in DEFAULTS.get(kind, {}).items():
            if value.get(name) is None:
                value[name] = default
        if kind in ARNS:
            value["arn"] = f"arn:{self.partition}:" + ARNS[kind].format_map({**value, **self.place})
        if "id" in value:
            value["id"] = value.get("name") or value.get("arn") or kind
        return value

    def read(self, kind, config):
        """What a data source is."""
        known = {
            "aws_caller_identity": {"account_id": ACCOUNT},
            "aws_partition": {"partition": self.partition, "dns_suffix": self.suffix},
            "aws_region": {"region": self.place["region"], "name": self.place["region"]},
        }
        return config | (known[kind] if kind in known else {"json": json.dumps(policy(config["statement"]))})


def policy(statements):
    return {"Version": "2012-10-17", "Statement": [statement(it) for it in statements]}


def statement(it):
    made = {"Effect": it["effect"] or "Allow", "Action": it["actions"], "Resource": it["resources"]}
    if it["sid"]:
        made["Sid"] = it["sid"]
    for principal in it["principals"] or []:
        made.setdefault("Principal", {})[principal["type"]] = principal["identifiers"]
    for condition in it["condition"] or []:
        made.setdefault("Condition", {}).setdefault(condition["test"], {})[condition["variable"]] = condition["values"]
    return {name: value for name, value in made.items() if value}


def rpcs(provider):
    """The calls that Terraform makes until it has a plan, and what they answer."""
    resources, data = TYPES["resources"], TYPES["data"]
    entries = lambda of: [message((1, name), (2, schema(block))) for name, block in of.items()]  # noqa: E731
    configuration = {"attributes": {"region": ["string", "o"]}, "blocks": {}}

    def plan(request):
        kind, proposed = request[1].decode(), value_of(request[3])
        planned = None if proposed is None else provider.planned(kind, proposed)
        # The fifth field: null stands for unknown, as in most resources of the real provider.
        return message((1, dynamic(planned)), (5, True))

    return {
        "GetSchema": lambda _: message((1, schema(configuration)), (2, entries(resources)), (3, entries(data))),
        "PrepareProviderConfig": lambda it: message((1, it[1])),
        "ValidateResourceTypeConfig": lambda _: b"",
        "ValidateDataSourceConfig": lambda _: b"",
        "Configure": lambda _: b"",
        "PlanResourceChange": plan,
        "ReadDataSource": lambda it: message((1, dynamic(provider.read(it[1].decode(), value_of(it[2]))))),
        "Stop": lambda _: b"",
    }


@contextlib.contextmanager
def serving(directory, region="eu-central-1", partition="aws", suffix="amazonaws.com"):
    """Serves the provider on a socket in the directory. Yields the variables that make Terraform use it."""
    calls = {
        name: grpc.unary_unary_rpc_method_handler(lambda request, _, answer=answer: answer(fields(request)))
        for name, answer in rpcs(Provider(region, partition, suffix)).items()
    }
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("tfplugin5.Provider", calls)])
    socket = Path(directory, "provider").resolve()
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    attached = {"Protocol": "grpc", "ProtocolVersion": 5, "Pid": os.getpid(), "Test": True, "Addr": {"Network": "unix", "String": str(socket)}}
    try:
        yield {"TF_REATTACH_PROVIDERS": json.dumps({"registry.terraform.io/hashicorp/aws": attached})}
    finally:
        server.stop(None).wait()
