"""MiniStack 1.5.33 with what it takes to apply, plan and destroy the stacks as against AWS.

Each correction replaces one function of the simulator and says what AWS does. They were written for one version and are refused on
any other: read them against the new version first, most of them will have become unnecessary.
"""

import collections
import functools
import importlib.metadata
import json
import re
import sys
from urllib.parse import unquote
from xml.sax.saxutils import escape

VERSION = "1.5.33"
FOUND = importlib.metadata.version("ministack")
if FOUND != VERSION:
    sys.exit(f"ministack: given {FOUND}; the corrections in {__file__} were written for {VERSION}. Install that version, or review them.")

from ministack import app  # noqa: E402
from ministack.services import (  # noqa: E402
    apigateway_v1,
    cloudfront,
    dynamodb,
    ec2,
    eks,
    elasticache,
    lambda_svc,
    msk,
    rds,
    secretsmanager,
    waf,
)


def corrects(module, name):
    """Replaces `module.name`, also where a table of actions holds it. The decorated function gets the original first."""

    def decorate(correction):
        original = getattr(module, name)
        corrected = functools.wraps(original)(functools.partial(correction, original))
        setattr(module, name, corrected)
        for table in [value for value in vars(module).values() if isinstance(value, dict)]:
            for action, handler in list(table.items()) if all(isinstance(key, str) for key in table) else []:
                if handler is original:
                    table[action] = corrected
        return correction

    return decorate


def values(params, prefix):
    """Members of a list parameter: `prefix.1`, `prefix.2` …"""
    found = []
    while value := ec2._p(params, f"{prefix}.{len(found) + 1}"):
        found.append(value)
    return found


# EC2


@corrects(ec2, "_parse_ip_permissions")
def prefix_lists_of_rules_are_kept(original, params, prefix):
    """AWS: a rule may name prefix lists (IpPermission.PrefixListIds); CloudFront's is what the load balancer admits."""
    rules = original(params, prefix)
    for index, rule in enumerate(rules, start=1):
        place = f"{prefix}.{index}.PrefixListIds"
        while prefix_list := ec2._p(params, f"{place}.{len(rule['PrefixListIds']) + 1}.PrefixListId"):
            description = ec2._p(params, f"{place}.{len(rule['PrefixListIds']) + 1}.Description")
            rule["PrefixListIds"].append(
                {"PrefixListId": prefix_list, **({"Description": description} if description else {})}
            )
    return rules


@corrects(ec2, "_parse_ip_permissions")
def rules_of_all_protocols_have_no_ports(original, params, prefix):
    """AWS: ports given with protocol -1 mean nothing; the provider gives 0 to take away the rule that opens every new group."""
    rules = original(params, prefix)
    for rule in rules:
        if rule["IpProtocol"] == "-1":
            rule.pop("FromPort", None)
            rule.pop("ToPort", None)
    return rules


@corrects(ec2, "_sg_rule_xml")
def prefix_lists_of_rules_are_shown(original, group_id, rule, is_egress=False):
    """AWS: DescribeSecurityGroupRules shows the prefix list of a rule."""
    shown = "".join(f"<prefixListId>{entry['PrefixListId']}</prefixListId>" for entry in rule.get("PrefixListIds", []))
    return original(group_id, rule, is_egress).replace("</securityGroupRuleId>", f"</securityGroupRuleId>{shown}", 1)


@corrects(ec2, "_create_managed_prefix_list")
def prefix_lists_take_tags(original, params):
    """AWS: CreateManagedPrefixList takes tags as every other call of EC2 does, in TagSpecification."""
    before = set(ec2._prefix_lists.keys())
    response = original(params)
    for list_id in set(ec2._prefix_lists.keys()) - before:
        ec2._parse_tag_specs(params, "prefix-list", list_id)
        created = ec2._prefix_list_xml(ec2._prefix_lists[list_id], tag="prefixList")
        return ec2._xml(200, "CreateManagedPrefixListResponse", created)
    return response


@corrects(ec2, "_create_flow_logs")
def flow_logs_keep_their_settings(original, params):
    """AWS: a flow log keeps the role it delivers with, its log group, its interval (600 seconds by default) and its tags."""
    before = set(ec2._flow_logs.keys())
    response = original(params)
    for log_id in set(ec2._flow_logs.keys()) - before:
        ec2._flow_logs[log_id] |= {
            "DeliverLogsPermissionArn": ec2._p(params, "DeliverLogsPermissionArn"),
            "LogGroupName": ec2._p(params, "LogGroupName") or ec2._p(params, "LogDestination").rpartition(":log-group:")[2],
            "MaxAggregationInterval": ec2._p(params, "MaxAggregationInterval") or "600",
            "LogFormat": ec2._p(params, "LogFormat") or DEFAULT_FLOW_LOG_FORMAT,
        }
        ec2._parse_tag_specs(params, "vpc-flow-log", log_id)
    return response


# Source: Amazon VPC, "Flow log records", version 2.
DEFAULT_FLOW_LOG_FORMAT = (
    "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} "
    "${start} ${end} ${action} ${log-status}"
)


@corrects(ec2, "_describe_flow_logs")
def flow_logs_show_their_settings(original, params):
    """AWS: DescribeFlowLogs shows them."""
    status, headers, body = original(params)
    text = body.decode()
    for log_id, log in ec2._flow_logs.items():
        names = ("DeliverLogsPermissionArn", "LogGroupName", "MaxAggregationInterval", "LogFormat")
        shown = "".join(f"<{name[0].lower()}{name[1:]}>{escape(log.get(name, ''))}</{name[0].lower()}{name[1:]}>" for name in names)
        text = text.replace(f"<flowLogId>{log_id}</flowLogId>", f"<flowLogId>{log_id}</flowLogId>{shown}")
    return status, headers, text.encode()


@corrects(ec2, "_create_vpc_endpoint")
def interface_endpoints_have_groups(original, params):
    """AWS: an interface endpoint keeps its security groups and whether its private DNS name is on."""
    before = set(ec2._vpc_endpoints.keys())
    status, headers, body = original(params)
    for endpoint_id in set(ec2._vpc_endpoints.keys()) - before:
        endpoint = ec2._vpc_endpoints[endpoint_id]
        endpoint["SecurityGroupIds"] = values(params, "SecurityGroupId")
        endpoint["PrivateDnsEnabled"] = ec2._p(params, "PrivateDnsEnabled") or "false"
        endpoint["PolicyDocument"] = ec2._p(params, "PolicyDocument")
        return ec2._xml(200, "CreateVpcEndpointResponse", ec2._vpce_fields_xml(endpoint, tag="vpcEndpoint"))
    return status, headers, body


@corrects(ec2, "_vpce_fields_xml")
def interface_endpoints_show_groups(original, endpoint, tag="item"):
    """AWS: DescribeVpcEndpoints shows groupSet, privateDnsEnabled and the policy."""
    groups = "".join(f"<item><groupId>{group}</groupId></item>" for group in endpoint.get("SecurityGroupIds", []))
    policy = endpoint.get("PolicyDocument")
    return original(endpoint, tag=tag).replace(
        f"</{tag}>" if tag != "item" else "<routeTableIdSet>",
        f"<groupSet>{groups}</groupSet><privateDnsEnabled>{endpoint.get('PrivateDnsEnabled', 'false')}</privateDnsEnabled>"
        + (f"<policyDocument>{escape(policy)}</policyDocument>" if policy else "")
        + (f"</{tag}>" if tag != "item" else "<routeTableIdSet>"),
        1,
    )


# EKS


@corrects(eks, "_ministack_issuer_base")
def issuers_are_https(original):
    """AWS: the issuer of a cluster is an https URL; IAM accepts no other."""
    return original().replace("http://", "https://", 1)


@corrects(eks, "_create_nodegroup")
def node_groups_keep_their_settings(original, cluster_name, body):
    """AWS: DescribeNodegroup returns launch template, update configuration and remote access as they were given."""
    status, headers, response = original(cluster_name, body)
    group = eks._nodegroups.get(f"{cluster_name}/{body.get('nodegroupName', '')}")
    if status == 200 and group is not None:
        for name in ("launchTemplate", "updateConfig", "remoteAccess", "nodeRepairConfig"):
            if name in body:
                group[name] = body[name]
        if "launchTemplate" in body:
            # The launch template decides the disk then.
            group.pop("diskSize", None)
        return eks._json_resp(200, {"nodegroup": group})
    return status, headers, response


@corrects(eks, "_handle_request_sync")
def node_groups_can_be_changed(original, method, path, headers, body, query_params):
    """AWS: UpdateNodegroupConfig changes scaling, labels and update configuration; DescribeUpdate tells how that went."""
    if method == "POST" and (match := re.fullmatch(r"/clusters/([^/]+)/node-groups/([^/]+)/update-config", path)):
        group = eks._nodegroups.get("/".join(unquote(part) for part in match.groups()))
        if group is None:
            return eks._error(404, "ResourceNotFoundException", f"No node group found for name: {match[2]}.")
        request = json.loads(body)
        for name in ("scalingConfig", "updateConfig"):
            group[name] = {**group.get(name, {}), **request.get(name, {})}
        labels = request.get("labels", {})
        kept = {key: value for key, value in group["labels"].items() if key not in labels.get("removeLabels", [])}
        group["labels"] = {**kept, **labels.get("addOrUpdateLabels", {})}
        return eks._json_resp(200, {"update": finished_update("config-1")})
    if method == "GET" and (match := re.fullmatch(r"/clusters/[^/]+/updates/([^/]+)", path)):
        return eks._json_resp(200, {"update": finished_update(match[1])})
    return original(method, path, headers, body, query_params)


def finished_update(update_id):
    return {"id": update_id, "status": "Successful", "type": "ConfigUpdate", "params": [], "createdAt": eks._now(), "errors": []}


# Lambda


@corrects(lambda_svc, "_list_versions")
def versions_have_arns_of_their_own(original, name, query_params):
    """AWS: ListVersionsByFunction returns qualified ARNs; CloudFront takes no other."""
    status, headers, body = original(name, query_params)
    listed = json.loads(body)
    for version in listed.get("Versions", []):
        if not version["FunctionArn"].endswith(f":{version['Version']}"):
            version["FunctionArn"] += f":{version['Version']}"
    return status, headers, json.dumps(listed).encode()


# MSK


@corrects(msk, "handle_request")
async def clusters_have_a_second_description(original, method, path, headers, body, query_params):
    """AWS: GET /api/v2/clusters/ARN (DescribeClusterV2) and DELETE /v1/configurations/ARN (DeleteConfiguration) exist."""
    if method == "GET" and path.startswith("/api/v2/clusters/"):
        return describe_cluster_v2(unquote(path.removeprefix("/api/v2/clusters/")))
    if method == "DELETE" and path.startswith("/v1/configurations/"):
        arn = unquote(path.removeprefix("/v1/configurations/"))
        msk._configurations.pop(arn, None)
        return msk._json({"Arn": arn, "State": "DELETING"})
    return await original(method, path, headers, body, query_params)


@corrects(msk, "handle_request")
async def clusters_can_be_changed(original, method, path, headers, body, query_params):
    """AWS: version, configuration and monitoring of a cluster are changed in place; DescribeClusterOperation tells how that went."""
    if method == "PUT" and (match := re.fullmatch(r"/v1/clusters/(.+)/(version|configuration|monitoring)", path)):
        arn, request = unquote(match[1]), json.loads(body)
        cluster = msk._clusters.get(arn)
        if cluster is None:
            return msk._bad_request("The specified cluster ARN does not exist.")
        # The simulator keeps a cluster as the API shows it, with the names of CreateCluster.
        software = cluster.setdefault("CurrentBrokerSoftwareInfo", {})
        if match[2] == "version":
            software["KafkaVersion"] = request["targetKafkaVersion"]
        if info := request.get("configurationInfo"):
            software["ConfigurationArn"], software["ConfigurationRevision"] = info["arn"], info["revision"]
        for name in ("EnhancedMonitoring", "LoggingInfo", "OpenMonitoring"):
            if (given := request.get(name[0].lower() + name[1:])) is not None:
                cluster[name] = given
        return msk._json({"clusterArn": arn, "clusterOperationArn": arn.replace(":cluster/", ":cluster-operation/")})
    if method == "GET" and path.startswith("/v1/operations/"):
        operation = unquote(path.removeprefix("/v1/operations/"))
        return msk._json({"clusterOperationInfo": {"clusterOperationArn": operation, "operationState": "UPDATE_COMPLETE"}})
    return await original(method, path, headers, body, query_params)


def describe_cluster_v2(arn):
    status, headers, body = msk._describe_cluster(arn)
    if status != 200:
        return status, headers, body
    cluster = json.loads(body)["clusterInfo"]
    common = ("clusterArn", "clusterName", "creationTime", "currentVersion", "state", "tags")
    described = {key: cluster[key] for key in common if key in cluster} | {
        "clusterType": "PROVISIONED",
        "provisioned": {key: value for key, value in cluster.items() if key not in common},
    }
    return 200, headers, json.dumps({"clusterInfo": described}).encode()


@corrects(msk, "_describe_cluster")
def tag_keys_keep_their_case(original, arn):
    """AWS: tags come back as they were given; only member names of the API are in camel case."""
    status, headers, body = original(arn)
    if status == 200:
        described = json.loads(body)
        described["clusterInfo"]["tags"] = dict(msk._tags.get(arn, {}))
        body = json.dumps(described).encode()
    return status, headers, body


@corrects(msk, "_describe_cluster")
def clusters_tell_their_open_monitoring(original, arn):
    """AWS: a cluster always tells its open monitoring, with both exporters off unless asked for; the provider sends it back."""
    status, headers, body = original(arn)
    if status == 200:
        described = json.loads(body)
        off = {"enabledInBroker": False}
        described["clusterInfo"]["openMonitoring"] = described["clusterInfo"].get("openMonitoring") or {
            "prometheus": {"jmxExporter": off, "nodeExporter": off}
        }
        body = json.dumps(described).encode()
    return status, headers, body


@corrects(msk, "_describe_configuration")
def deleted_configurations_are_a_bad_request(original, arn):
    """AWS: the answer for a configuration that is gone is 400, and the provider's wait for its deletion looks for this sentence."""
    if arn not in msk._configurations:
        return msk._bad_request("Configuration ARN does not exist")
    return original(arn)


# RDS


@corrects(rds, "_apply_instance_filters")
def instances_are_found_by_resource_id(original, instances, filters):
    """AWS: DescribeDBInstances filters by dbi-resource-id; the provider asks so while it deletes."""
    wanted = filters.get("dbi-resource-id")
    return [found for found in original(instances, filters) if wanted is None or found.get("DbiResourceId") in wanted]


@corrects(rds, "_create_db_instance")
def log_exports_are_kept(original, params):
    """AWS: an instance keeps which logs it exports."""
    response = original(params)
    instance = rds._instances.get(rds._p(params, "DBInstanceIdentifier"))
    if instance is not None and response[0] == 200:
        instance["EnabledCloudwatchLogsExports"] = values(params, "EnableCloudwatchLogsExports.member")
        keep_insights_key(instance, params)
    return response


@corrects(rds, "_create_read_replica")
def replicas_have_settings_of_their_own(original, params):
    """AWS: a replica inherits neither deletion protection nor log exports, and takes the groups it was given."""
    response = original(params)
    replica = rds._instances.get(rds._p(params, "DBInstanceIdentifier"))
    if replica is not None and response[0] == 200:
        replica["DeletionProtection"] = rds._p(params, "DeletionProtection") == "true"
        replica["EnabledCloudwatchLogsExports"] = values(params, "EnableCloudwatchLogsExports.member")
        replica["MultiAZ"] = rds._p(params, "MultiAZ") == "true"
        groups = values(params, "VpcSecurityGroupIds.VpcSecurityGroupId")
        if groups:
            replica["VpcSecurityGroups"] = [{"VpcSecurityGroupId": group, "Status": "active"} for group in groups]
        keep_insights_key(replica, params)
    return rds._single_instance_response(
        "CreateDBInstanceReadReplicaResponse", "CreateDBInstanceReadReplicaResult", replica
    ) if replica is not None and response[0] == 200 else response


@corrects(rds, "_modify_db_instance")
def minor_versions_are_changed_at_once(original, params):
    """AWS: AutoMinorVersionUpgrade changes with the call, whatever ApplyImmediately says."""
    response = original(params)
    instance = rds._instances.get(rds._p(params, "DBInstanceIdentifier"))
    if response[0] != 200 or instance is None or not (minor := rds._p(params, "AutoMinorVersionUpgrade")):
        return response
    instance["AutoMinorVersionUpgrade"] = minor == "true"
    return rds._single_instance_response("ModifyDBInstanceResponse", "ModifyDBInstanceResult", instance)


def keep_insights_key(instance, params):
    """AWS: Performance Insights keeps the key it encrypts with."""
    instance["PerformanceInsightsKMSKeyId"] = rds._p(params, "PerformanceInsightsKMSKeyId") or ""


@corrects(rds, "_instance_xml")
def settings_of_instances_are_shown(original, instance):
    """AWS: DescribeDBInstances lists the exported logs and the key of Performance Insights."""
    members = "".join(f"<member>{name}</member>" for name in instance.get("EnabledCloudwatchLogsExports", []))
    key = instance.get("PerformanceInsightsKMSKeyId")
    return original(instance).replace(
        "<EnabledCloudwatchLogsExports/>",
        f"<EnabledCloudwatchLogsExports>{members}</EnabledCloudwatchLogsExports>"
        + (f"<PerformanceInsightsKMSKeyId>{key}</PerformanceInsightsKMSKeyId>" if key else ""),
    )


# ElastiCache


@corrects(elasticache, "_describe_cache_parameters")
def parameters_are_told_by_source(original, params):
    """AWS: Source=user lists only what somebody set; the provider compares exactly that with the configuration."""
    name, source = elasticache._p(params, "CacheParameterGroupName"), elasticache._p(params, "Source")
    if not source or name not in elasticache._param_group_params:
        return original(params)
    everything = elasticache._param_group_params[name]
    elasticache._param_group_params[name] = {
        key: value for key, value in everything.items() if value.get("Source", "system") == source
    }
    try:
        return original(params)
    finally:
        elasticache._param_group_params[name] = everything


@corrects(elasticache, "_create_replication_group")
def replication_groups_take_minor_versions(original, params):
    """AWS: a replication group keeps AutoMinorVersionUpgrade, on by default."""
    response = original(params)
    group = elasticache._replication_groups.get(elasticache._p(params, "ReplicationGroupId"))
    if group is not None and response[0] == 200:
        group["AutoMinorVersionUpgrade"] = elasticache._p(params, "AutoMinorVersionUpgrade", "true").lower() == "true"
        group["KmsKeyId"] = elasticache._p(params, "KmsKeyId")
    return response


@corrects(elasticache, "_modify_replication_group")
def replication_groups_can_be_changed(original, params):
    """AWS: ModifyReplicationGroup changes security groups, maintenance window, minor versions and log delivery, also of members."""
    response = original(params)
    if response[0] != 200:
        return response
    group = elasticache._replication_groups[elasticache._p(params, "ReplicationGroupId")]
    if groups := elasticache._extract_configs(params, "SecurityGroupIds", ("SecurityGroupId", "member")):
        group["SecurityGroups"] = [{"SecurityGroupId": found, "Status": "active"} for found in groups]
    if window := elasticache._p(params, "PreferredMaintenanceWindow"):
        group["PreferredMaintenanceWindow"] = window
    if minor := elasticache._p(params, "AutoMinorVersionUpgrade"):
        group["AutoMinorVersionUpgrade"] = minor.lower() == "true"
    if any(name.startswith("LogDeliveryConfigurations.") for name in params):
        group["LogDeliveryConfigurations"] = elasticache._extract_log_delivery_configs(params)
    for member in group["MemberClusters"]:
        for name in ("SecurityGroups", "PreferredMaintenanceWindow", "LogDeliveryConfigurations"):
            elasticache._clusters[member][name] = group[name]
    return response


@corrects(elasticache, "_rg_xml")
def replication_groups_show_their_key(original, group):
    """AWS: DescribeReplicationGroups shows the key that encrypts the group at rest."""
    return original(group) + (f"<KmsKeyId>{group['KmsKeyId']}</KmsKeyId>" if group.get("KmsKeyId") else "")


@corrects(elasticache, "_cluster_xml_inner")
def clusters_take_minor_versions(original, cluster):
    """AWS: a cluster shows AutoMinorVersionUpgrade; as a member of a replication group, the group's."""
    group = elasticache._replication_groups.get(cluster.get("ReplicationGroupId", "")) or cluster
    upgraded = str(group.get("AutoMinorVersionUpgrade", True)).lower()
    return original(cluster) + f"<AutoMinorVersionUpgrade>{upgraded}</AutoMinorVersionUpgrade>"


# API Gateway


@corrects(apigateway_v1, "_put_integration")
def mock_integrations_have_no_method(original, api_id, resource_id, http_method, data):
    """AWS: a MOCK integration has no HTTP method and no URI."""
    response = original(api_id, resource_id, http_method, data)
    if response[0] != 201 or data.get("type") != "MOCK":
        return response
    integration = apigateway_v1._resources[api_id][resource_id]["resourceMethods"][http_method]["methodIntegration"]
    for name in ("httpMethod", "uri", "connectionType"):
        integration.pop(name, None)
    return apigateway_v1._v1_response(integration, 201)


@corrects(apigateway_v1, "_v1_response")
def absent_settings_are_absent(original, data, *args):
    """AWS: a stage without access logs has no accessLogSettings, a usage plan without limits no throttle and quota: no empty ones."""
    if isinstance(data, dict):
        optional = ("accessLogSettings", "throttle", "quota")
        data = {key: value for key, value in data.items() if not (key in optional and value == {})}
    return original(data, *args)


# DynamoDB


@corrects(dynamodb, "_describe_continuous_backups")
def recovery_has_a_period(original, data):
    """AWS: point-in-time recovery reaches back RecoveryPeriodInDays, 35 where nothing else was asked for."""
    status, headers, body = original(data)
    described = json.loads(body)
    recovery = described.get("ContinuousBackupsDescription", {}).get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") == "ENABLED":
        recovery["RecoveryPeriodInDays"] = 35
    return status, headers, json.dumps(described).encode()


# Secrets Manager


@corrects(secretsmanager, "_create_secret")
def secrets_begin_without_a_version(original, data):
    """AWS: a secret made without a value has no version; a first value leaves nothing behind that AWSPREVIOUS could name."""
    status, headers, body = original(data)
    secret = secretsmanager._secrets.get(data.get("Name"))
    if status == 200 and secret is not None and not ("SecretString" in data or "SecretBinary" in data):
        secret["Versions"].clear()
        body = json.dumps({key: value for key, value in json.loads(body).items() if key != "VersionId"}).encode()
    return status, headers, body


# WAF

WEB_ACL_LOGGING = {}


@corrects(waf, "handle_request")
async def web_acls_have_logging(original, method, path, headers, body, query_params):
    """AWS: PutLoggingConfiguration, GetLoggingConfiguration and DeleteLoggingConfiguration exist, one configuration for a web ACL."""
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    if not action.endswith("LoggingConfiguration"):
        return await original(method, path, headers, body, query_params)
    request = json.loads(body)
    if action == "PutLoggingConfiguration":
        configuration = request["LoggingConfiguration"]
        arn = configuration["ResourceArn"]
        WEB_ACL_LOGGING[arn] = configuration | {"ManagedByFirewallManager": False}
    else:
        arn = request["ResourceArn"]
    if arn not in WEB_ACL_LOGGING:
        return waf._waf_err("WAFNonexistentItemException", f"No logging configuration for {arn}.")
    if action == "DeleteLoggingConfiguration":
        del WEB_ACL_LOGGING[arn]
        return waf.json_response({})
    return waf.json_response({"LoggingConfiguration": WEB_ACL_LOGGING[arn]})


# CloudFront


@corrects(cloudfront, "_build_rhp_config_xml")
def empty_header_blocks_are_left_out(original, parent, policy):
    """AWS: a policy without custom or removed headers has no such blocks."""
    original(parent, policy)
    for block in [child for child in parent if child.tag.endswith(("CustomHeadersConfig", "RemoveHeadersConfig"))]:
        if block.find("Quantity").text == "0":
            parent.remove(block)


# Around every call.

CALLS_PATH = "/_urr/calls"
KEPT_ANSWERS = 256
calls = collections.Counter()
answers = collections.OrderedDict()
serve = app.app


async def counted(scope, receive, send):
    """Counts the calls by service; they are read at CALLS_PATH, so that a run can tell which part served what."""
    if scope["type"] == "http":
        if scope["path"] == CALLS_PATH:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": json.dumps(calls).encode()})
            return
        authorization = dict(scope["headers"]).get(b"authorization", b"").decode("latin1")
        if match := re.search(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/", authorization):
            calls[match[1]] += 1
    await answered_once(scope, receive, send)


async def answered_once(scope, receive, send):
    """Gives a repeated call the answer that it had.

    On loopback an answer can be there before the client has seen the end of its own request, and Terraform's SDK for Go then drops
    the connection now and then ("use of closed network connection") and repeats the call, with the same amz-sdk-invocation-id. The
    call has been carried out by then: the state's lock would be refused to its own holder, and what was just created would exist
    already. A round trip to AWS takes longer than that.
    """
    headers = dict(scope["headers"]) if scope["type"] == "http" else {}
    invocation = headers.get(b"amz-sdk-invocation-id")
    if invocation is None or scope["method"] in ("GET", "HEAD"):
        return await serve(scope, receive, send)
    if invocation in answers:
        print(f"answered again: {scope['method']} {scope['path']} {headers.get(b'x-amz-target', b'').decode('latin1')}", flush=True)
        while (await receive()).get("more_body"):
            pass
        for message in answers[invocation]:
            await send(message)
        return None
    answer = []

    async def keep(message):
        answer.append(message)
        if answer[0]["status"] < 300 and not message.get("more_body") and message["type"] == "http.response.body":
            answers[invocation] = answer
            while len(answers) > KEPT_ANSWERS:
                answers.popitem(last=False)
        await send(message)

    return await serve(scope, receive, keep)


if __name__ == "__main__":
    app.app = counted
    app.main()
