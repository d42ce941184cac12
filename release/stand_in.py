"""A stand-in for CloudFormation, to which the AWS CLI is pointed: moto's server. SAM's own translator reads a template first. Types that moto
lacks are left out, but a secret, its attachment to a database and its schedule, which are made here."""

import functools
import json
import logging
import urllib.request

import boto3
import moto_template
from moto.cloudformation import models as cloudformation
from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel
from moto.server import ThreadedMotoServer
from samcli.yamlhelper import yaml_parse
from template import Deployment, translated

MADE_HERE = {f"AWS::SecretsManager::{it}" for it in ("Secret", "SecretTargetAttachment", "RotationSchedule")}


class Server:
    """moto's server, as long as the `with` block. `url` is its address."""

    def __enter__(self):
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        parsing.get_model_list.cache_clear()
        parsing.get_model_map.cache_clear()
        self._server = ThreadedMotoServer(port=0, verbose=False)
        self._server.start()
        # moto reads a template's address in S3 correctly if it has this host.
        self.url = f"http://localhost:{self._server.get_host_and_port()[1]}"
        Resource.url = self.url
        # What an earlier server of this process has made.
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")).close()
        self._backend = cloudformation.CloudFormationBackend
        self._originals = {name: getattr(self._backend, name) for name in ("create_stack", "create_change_set")}
        for name, original in self._originals.items():
            setattr(self._backend, name, self.prepares(original))
        cloudformation.Stack.get_cfn_attribute = output_of
        self._apply = cloudformation.ChangeSet.apply
        cloudformation.ChangeSet.apply = lambda change_set: applied(self._apply, change_set)
        return self

    def __exit__(self, *_):
        for name, original in self._originals.items():
            setattr(self._backend, name, original)
        del cloudformation.Stack.get_cfn_attribute
        cloudformation.ChangeSet.apply = self._apply
        self._server.stop()

    @staticmethod
    def prepares(original):
        def wrapper(backend, *arguments, **keywords):
            keywords["template"] = prepared(keywords["template"], keywords["parameters"])
            return original(backend, *arguments, **keywords)
        return wrapper


def prepared(text, parameters):
    template = yaml_parse(text)
    if template.get("Transform") == "AWS::Serverless-2016-10-31":
        template = translated(template)
    return json.dumps(moto_template.for_moto(Deployment(template, **parameters), moto_template.NOT_IN_MOTO - MADE_HERE))


def applied(apply, change_set):
    """moto shows no outputs of a stack that a change set has made."""
    apply(change_set)
    stack = change_set.stack
    stack.output_map = parsing.OutputMap(stack.resource_map, change_set.template_dict, stack.stack_id)


def output_of(stack, attribute):
    """What !GetAtt of a nested stack gives."""
    return stack.output_map[attribute.removeprefix("Outputs.")].value


@functools.lru_cache
def client(service, url):
    """Making a client takes longer than most of its calls."""
    return boto3.client(service, endpoint_url=url)


class Resource:
    """A resource that moto lacks, made with the services' own calls."""

    url = None

    def __init__(self, physical_resource_id):
        self.physical_resource_id = physical_resource_id

    @staticmethod
    def cloudformation_name_type():
        return ""

    @staticmethod
    def cloudformation_type():
        return ""

    @classmethod
    def has_cfn_attr(cls, attr):
        return False

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **_):
        return cls(cls.make(resource_name, cloudformation_json["Properties"]))

    @classmethod
    def client(cls, service):
        return client(service, cls.url)


def made(kind):
    """Makes a type of resource of a function that returns its physical id."""
    def decorate(function):
        attributes = {"make": staticmethod(function), "cloudformation_type": staticmethod(lambda: f"AWS::SecretsManager::{kind}")}
        # moto finds the direct subclasses of its own class, and reads the name of the service in the name of the module.
        attributes["__module__"] = "moto.secretsmanager"
        return type(kind, (Resource, CloudFormationModel), attributes)
    return decorate


@made("Secret")
def secret(name, properties):
    manager = Resource.client("secretsmanager")
    wanted = properties["GenerateSecretString"]
    password = manager.get_random_password(PasswordLength=int(wanted["PasswordLength"]), ExcludeCharacters=wanted["ExcludeCharacters"])
    value = json.loads(wanted["SecretStringTemplate"]) | {wanted["GenerateStringKey"]: password["RandomPassword"]}
    return manager.create_secret(Name=properties.get("Name", f"{name}-made"), SecretString=json.dumps(value))["ARN"]


@made("SecretTargetAttachment")
def attachment(_, properties):
    manager, rds = Resource.client("secretsmanager"), Resource.client("rds")
    database, = rds.describe_db_instances(DBInstanceIdentifier=properties["TargetId"])["DBInstances"]
    value = json.loads(manager.get_secret_value(SecretId=properties["SecretId"])["SecretString"])
    value |= {
        "engine": database["Engine"], "host": database["Endpoint"]["Address"], "port": database["Endpoint"]["Port"],
        "dbname": database["DBName"], "dbInstanceIdentifier": database["DBInstanceIdentifier"],
    }
    manager.put_secret_value(SecretId=properties["SecretId"], SecretString=json.dumps(value))
    return properties["SecretId"]


@made("RotationSchedule")
def schedule(_, properties):
    # As Secrets Manager does: the function has to exist and to let the service in, and the secret is read at once. moto's RotateSecret would
    # run the function in a container.
    arn, lambda_ = properties["RotationLambdaARN"], Resource.client("lambda")
    policy = json.loads(lambda_.get_policy(FunctionName=arn)["Policy"])
    if not any(it["Principal"]["Service"] == "secretsmanager.amazonaws.com" for it in policy["Statement"]):
        raise ValueError(f"Secrets Manager cannot invoke {arn}")
    manager = Resource.client("secretsmanager")
    if "host" not in json.loads(manager.get_secret_value(SecretId=properties["SecretId"])["SecretString"]):
        raise ValueError("the secret is rotated before it is complete")
    manager.tag_resource(SecretId=properties["SecretId"], Tags=[
        {"Key": "rotated-by", "Value": arn}, {"Key": "when", "Value": properties["RotationRules"]["ScheduleExpression"]},
    ])
    return properties["SecretId"]
