//! What is in a `/config_dump`.

use serde_json::Value;

/// An `envoy.admin.v3.ConfigDump` as JSON.
pub struct Dump {
    configs: Vec<Value>,
}

impl Dump {
    pub fn new(mut dump: Value) -> Self {
        match dump.get_mut("configs").map(Value::take) {
            Some(Value::Array(configs)) => Self { configs },
            _ => Self { configs: Vec::new() },
        }
    }

    /// Listeners that serve.
    pub fn listeners(&self) -> Vec<Value> {
        let fixed = self.find("ListenersConfigDump", "static_listeners", &["listener"]);
        fixed
            .into_iter()
            .chain(self.find("ListenersConfigDump", "dynamic_listeners", &["active_state", "listener"]))
            .collect()
    }

    /// Route configurations.
    pub fn routes(&self) -> Vec<Value> {
        let fixed = self.find("RoutesConfigDump", "static_route_configs", &["route_config"]);
        fixed.into_iter().chain(self.find("RoutesConfigDump", "dynamic_route_configs", &["route_config"])).collect()
    }

    /// Clusters in use.
    pub fn clusters(&self) -> Vec<Value> {
        let fixed = self.find("ClustersConfigDump", "static_clusters", &["cluster"]);
        fixed.into_iter().chain(self.find("ClustersConfigDump", "dynamic_active_clusters", &["cluster"])).collect()
    }

    /// ClusterLoadAssignments.
    pub fn endpoints(&self) -> Vec<Value> {
        let fixed = self.find("EndpointsConfigDump", "static_endpoint_configs", &["endpoint_config"]);
        let told = self.find("EndpointsConfigDump", "dynamic_endpoint_configs", &["endpoint_config"]);
        fixed.into_iter().chain(told).collect()
    }

    /// Secrets, those that are waited for too; each as the dump has it, around the secret itself.
    pub fn secrets(&self) -> Vec<Value> {
        let lists = [
            ("static_secrets", "ACTIVE"),
            ("dynamic_active_secrets", "ACTIVE"),
            ("dynamic_warming_secrets", "WARMING"),
        ];
        let marked = lists.into_iter().flat_map(|(list, state)| {
            self.find("SecretsConfigDump", list, &[]).into_iter().map(move |mut secret| {
                if let Some(fields) = secret.as_object_mut() {
                    fields.insert("state".into(), state.into());
                }
                secret
            })
        });
        marked.collect()
    }

    /// The items of a list in the config dumps of a kind, each at a path; those without anything there are left out.
    fn find(&self, kind: &str, list: &str, path: &[&str]) -> Vec<Value> {
        let of_kind =
            self.configs.iter().filter(|config| config["@type"].as_str().is_some_and(|name| name.ends_with(kind)));
        let items = of_kind.filter_map(|config| config[list].as_array()).flatten();
        let at = |item: &Value| path.iter().fold(item, |value, field| &value[*field]).clone();
        items.map(at).filter(|value| !value.is_null()).collect()
    }
}

/// A text in a value; empty if there is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The items of a list in a value; none if there is no list.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The parts of `outbound|<port>|<subset>|<host>`.
pub fn service_name(cluster: &str) -> Option<[&str; 4]> {
    <[&str; 4]>::try_from(cluster.split('|').collect::<Vec<_>>()).ok()
}

/// `<address>:<port>` of a `core.v3.Address`.
pub fn address(address: &Value) -> (String, String) {
    let socket = &address["socket_address"];
    match socket.is_null() {
        false => (text(&socket["address"]).to_owned(), socket["port_value"].as_u64().unwrap_or_default().to_string()),
        true => (text(&address["pipe"]["path"]).to_owned(), String::new()),
    }
}
