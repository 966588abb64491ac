//! RBAC: the HTTP filter and its policies.

use super::{
    at::{At, Fault, take},
    matcher,
};
use crate::authz::{Effect, MetadataMatch, Permission, Policy, Principal, Rbac, Rules, Shadow, Template};
use crate::config::StringMatch;
use proto::envoy::{
    envoy::{
        config::{
            core::v3::TypedExtensionConfig,
            rbac::v3::{self as pb, MetadataSource, permission, principal, rbac::Action},
        },
        extensions::{
            filters::{http::rbac::v3::Rbac as Filter, network::rbac::v3::Rbac as NetworkFilter},
            path::r#match::uri_template::v3::UriTemplateMatchConfig,
            rbac::principals::mtls_authenticated::v3::Config as MtlsAuthenticated,
            transport_sockets::tls::v3::{SubjectAltNameMatcher, subject_alt_name_matcher::SanType},
        },
        r#type::matcher::v3::{PathMatcher, path_matcher},
    },
    google::protobuf::Any,
};

/// Depth of nested permissions: protobuf's own limit is higher than a stack's.
const DEEPEST: u32 = 32;

/// The network filter: the same rules for a connection.
pub(super) fn network_filter(at: &At<'_>, any: &Any) -> Result<Rbac, Fault> {
    let filter: NetworkFilter = at.unpack(any)?;
    // When it is asked makes no difference here: once, before anything is passed on.
    take!(at, filter => NetworkFilter { rules }
        moot { stat_prefix, shadow_rules, shadow_matcher, shadow_rules_stat_prefix, enforcement_type, delay_deny }
        refuse { matcher });
    let rules = rules.map(|rules| self::rules(&at.field("rules"), rules)).transpose()?;
    Ok(Rbac { rules, shadow: None })
}

pub(super) fn filter(at: &At<'_>, any: &Any) -> Result<Rbac, Fault> {
    let filter: Filter = at.unpack(any)?;
    take!(at, filter => Filter { rules, shadow_rules, shadow_rules_stat_prefix }
        moot { rules_stat_prefix, track_per_rule_stats }
        refuse { matcher, shadow_matcher });
    let rules = rules.map(|rules| self::rules(&at.field("rules"), rules)).transpose()?;
    let shadow = shadow_rules.map(|rules| self::rules(&at.field("shadow_rules"), rules)).transpose()?;
    let prefix = at.name(&shadow_rules_stat_prefix);
    Ok(Rbac { rules, shadow: shadow.map(|rules| Shadow { rules, prefix }) })
}

fn rules(at: &At<'_>, message: pb::Rbac) -> Result<Rules, Fault> {
    take!(at, message => pb::Rbac { action, policies } moot {} refuse { audit_logging_options });
    let effect = match Action::try_from(action) {
        Ok(Action::Allow) => Effect::Allow,
        Ok(Action::Deny) => Effect::Deny,
        Ok(Action::Log) => Effect::Log,
        Err(_) => return at.field("action").fail(format!("unknown value {action}")),
    };
    // In the order of names, as Envoy evaluates them: a map has none of its own.
    let mut policies: Vec<_> = policies.into_iter().collect();
    policies.sort_by(|(one, _), (other, _)| one.cmp(other));
    let at_policies = at.field("policies");
    let policies = policies.into_iter().map(|(name, message)| policy(&at_policies.key(&name), &name, message));
    Ok(Rules { effect, policies: policies.collect::<Result<_, _>>()? })
}

fn policy(at: &At<'_>, name: &str, message: pb::Policy) -> Result<Policy, Fault> {
    take!(at, message => pb::Policy { permissions, principals } moot {}
        refuse { condition, checked_condition, cel_config });
    let at_permissions = at.field("permissions");
    let permissions = permissions.into_iter().enumerate();
    let permissions = permissions.map(|(index, one)| permission(&at_permissions.index(index), one, DEEPEST));
    let at_principals = at.field("principals");
    let principals = principals.into_iter().enumerate();
    let principals = principals.map(|(index, one)| principal(&at_principals.index(index), one, DEEPEST));
    Ok(Policy {
        name: at.name(name),
        permissions: permissions.collect::<Result<_, _>>()?,
        principals: principals.collect::<Result<_, _>>()?,
    })
}

fn permission(at: &At<'_>, message: pb::Permission, depth: u32) -> Result<Permission, Fault> {
    use permission::Rule;
    let Some(depth) = depth.checked_sub(1) else { return at.fail("nested too deeply") };
    let set = |field: &str, set: permission::Set| {
        let at_set = at.field(field);
        let at_rules = at_set.field("rules");
        let rules = set.rules.into_iter().enumerate();
        rules.map(|(index, rule)| permission(&at_rules.index(index), rule, depth)).collect::<Result<Vec<_>, _>>()
    };
    Ok(match at.want("rule", message.rule)? {
        Rule::Any(true) => Permission::Any,
        Rule::Any(false) => return at.field("any").fail("wanted true, saw false"),
        Rule::AndRules(all) => Permission::All(set("and_rules", all)?),
        Rule::OrRules(any) => Permission::OneOf(set("or_rules", any)?),
        Rule::NotRule(inner) => Permission::Not(Box::new(permission(&at.field("not_rule"), *inner, depth)?)),
        Rule::Header(header) => Permission::Header(matcher::header(&at.field("header"), header)?),
        Rule::UrlPath(path) => Permission::Path(url_path(&at.field("url_path"), path)?),
        Rule::DestinationIp(range) => Permission::DestinationIp(matcher::block(&at.field("destination_ip"), range)?),
        Rule::DestinationPort(port) => match u16::try_from(port) {
            Ok(port) => Permission::DestinationPort(port),
            Err(_) => return at.field("destination_port").fail(format!("wanted a port, saw {port}")),
        },
        Rule::DestinationPortRange(range) => match (u16::try_from(range.start), u16::try_from(range.end)) {
            (Ok(start), Ok(end)) => Permission::DestinationPorts(start, end),
            _ => return at.field("destination_port_range").fail("wanted ports"),
        },
        Rule::RequestedServerName(name) => {
            Permission::ServerName(matcher::string(&at.field("requested_server_name"), name)?)
        }
        Rule::UriTemplate(template) => Permission::Template(uri_template(&at.field("uri_template"), template)?),
        Rule::Metadata(metadata) => Permission::Metadata(matcher::metadata(&at.field("metadata"), metadata)?),
        Rule::SourcedMetadata(sourced) => {
            Permission::Metadata(sourced_metadata(&at.field("sourced_metadata"), sourced)?)
        }
        Rule::Matcher(_) => return at.field("matcher").fail("this proxy doesn't support this field"),
    })
}

fn principal(at: &At<'_>, message: pb::Principal, depth: u32) -> Result<Principal, Fault> {
    use principal::Identifier;
    let Some(depth) = depth.checked_sub(1) else { return at.fail("nested too deeply") };
    let set = |field: &str, set: principal::Set| {
        let at_set = at.field(field);
        let at_ids = at_set.field("ids");
        let ids = set.ids.into_iter().enumerate();
        ids.map(|(index, id)| principal(&at_ids.index(index), id, depth)).collect::<Result<Vec<_>, _>>()
    };
    Ok(match at.want("identifier", message.identifier)? {
        Identifier::Any(true) => Principal::Any,
        Identifier::Any(false) => return at.field("any").fail("wanted true, saw false"),
        Identifier::AndIds(all) => Principal::All(set("and_ids", all)?),
        Identifier::OrIds(any) => Principal::OneOf(set("or_ids", any)?),
        Identifier::NotId(inner) => Principal::Not(Box::new(principal(&at.field("not_id"), *inner, depth)?)),
        Identifier::Authenticated(authenticated) => {
            let at = at.field("authenticated");
            let name = authenticated.principal_name;
            let name = name.map(|name| matcher::string(&at.field("principal_name"), name)).transpose()?;
            Principal::Authenticated(name)
        }
        // Envoy: "direct_remote_ip" by its old name.
        Identifier::SourceIp(range) => Principal::DirectIp(matcher::block(&at.field("source_ip"), range)?),
        Identifier::DirectRemoteIp(range) => Principal::DirectIp(matcher::block(&at.field("direct_remote_ip"), range)?),
        Identifier::RemoteIp(range) => Principal::RemoteIp(matcher::block(&at.field("remote_ip"), range)?),
        Identifier::Header(header) => Principal::Header(matcher::header(&at.field("header"), header)?),
        Identifier::UrlPath(path) => Principal::Path(url_path(&at.field("url_path"), path)?),
        Identifier::Metadata(metadata) => Principal::Metadata(matcher::metadata(&at.field("metadata"), metadata)?),
        Identifier::FilterState(_) => return at.field("filter_state").fail("this proxy doesn't support this field"),
        Identifier::SourcedMetadata(sourced) => {
            Principal::Metadata(sourced_metadata(&at.field("sourced_metadata"), sourced)?)
        }
        Identifier::Custom(custom) => Principal::Verified(verified(&at.field("custom"), custom)?),
    })
}

/// The one extension that is known: a client with a verified certificate.
fn verified(at: &At<'_>, message: TypedExtensionConfig) -> Result<Option<StringMatch>, Fault> {
    take!(at, message => TypedExtensionConfig { typed_config } moot { name } refuse {});
    let any = at.want("typed_config", typed_config)?;
    let at = at.field("typed_config");
    let config: MtlsAuthenticated = at.unpack(&any)?;
    take!(at, config => MtlsAuthenticated { san_matcher, any_validated_client_certificate } moot {} refuse {});
    let Some(name) = san_matcher else {
        return match any_validated_client_certificate {
            true => Ok(None),
            false => at.fail("wanted san_matcher or any_validated_client_certificate"),
        };
    };
    let at = at.field("san_matcher");
    take!(at, name => SubjectAltNameMatcher { san_type, matcher } moot {} refuse { oid });
    if SanType::try_from(san_type) != Ok(SanType::Uri) {
        return at.field("san_type").fail("wanted URI");
    }
    matcher::string(&at.field("matcher"), at.want("matcher", matcher)?).map(Some)
}

fn sourced_metadata(at: &At<'_>, message: pb::SourcedMetadata) -> Result<MetadataMatch, Fault> {
    take!(at, message => pb::SourcedMetadata { metadata_matcher, metadata_source } moot {} refuse {});
    match MetadataSource::try_from(metadata_source) {
        Ok(MetadataSource::Dynamic) => {
            let matcher = at.want("metadata_matcher", metadata_matcher)?;
            matcher::metadata(&at.field("metadata_matcher"), matcher)
        }
        _ => at.field("metadata_source").fail("wanted DYNAMIC"),
    }
}

fn url_path(at: &At<'_>, message: PathMatcher) -> Result<StringMatch, Fault> {
    match message.rule {
        Some(path_matcher::Rule::Path(path)) => matcher::string(&at.field("path"), path),
        None => at.field("rule").fail("wanted path"),
    }
}

fn uri_template(at: &At<'_>, message: TypedExtensionConfig) -> Result<Template, Fault> {
    take!(at, message => TypedExtensionConfig { typed_config } moot { name } refuse {});
    let any = at.want("typed_config", typed_config)?;
    let at = at.field("typed_config");
    let UriTemplateMatchConfig { path_template } = at.unpack(&any)?;
    Template::new(&path_template).map_err(|reason| at.field("path_template").fault(reason))
}
