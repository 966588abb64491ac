//! Where Kubernetes objects go in.

use crate::authentication::{FetchedKeys, KeySource};
use api::{Kind, Object};
use engine::{Batch, Engine, Input};
use model::{ObjectKey, ObjectRef};

/// The tables of Kubernetes objects, written from outside. Keys are those of the objects.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct Inputs {
    pub namespaces: Input<ObjectKey, api::Namespace>,
    pub gateway_classes: Input<ObjectKey, api::GatewayClass>,
    pub gateways: Input<ObjectKey, api::Gateway>,
    pub listener_sets: Input<ObjectKey, api::ListenerSet>,
    pub http_routes: Input<ObjectKey, api::HttpRoute>,
    pub grpc_routes: Input<ObjectKey, api::GrpcRoute>,
    pub tcp_routes: Input<ObjectKey, api::TcpRoute>,
    pub tls_routes: Input<ObjectKey, api::TlsRoute>,
    pub udp_routes: Input<ObjectKey, api::UdpRoute>,
    pub reference_grants: Input<ObjectKey, api::ReferenceGrant>,
    pub services: Input<ObjectKey, api::Service>,
    pub endpoint_slices: Input<ObjectKey, api::EndpointSlice>,
    pub secrets: Input<ObjectKey, api::Secret>,
    pub config_maps: Input<ObjectKey, api::ConfigMap>,
    pub backend_tls_policies: Input<ObjectKey, api::BackendTlsPolicy>,
    pub xbackends: Input<ObjectKey, api::XBackend>,
    pub backend_traffic_policies: Input<ObjectKey, api::XBackendTrafficPolicy>,
    pub authorization_policies: Input<ObjectKey, api::AuthorizationPolicy>,
    pub request_authentications: Input<ObjectKey, api::RequestAuthentication>,
    /// Objects that are referred to and can't be read, with why; no objects of Kubernetes.
    pub unreadable: Input<ObjectRef, String>,
    /// What fetching the keys of issuers has come to; no object of Kubernetes.
    pub fetched_keys: Input<KeySource, FetchedKeys>,
}

impl Inputs {
    pub(crate) fn declare(engine: &mut Engine) -> Self {
        Self {
            namespaces: engine.input("Namespace"),
            gateway_classes: engine.input("GatewayClass"),
            gateways: engine.input("Gateway"),
            listener_sets: engine.input("ListenerSet"),
            http_routes: engine.input("HTTPRoute"),
            grpc_routes: engine.input("GRPCRoute"),
            tcp_routes: engine.input("TCPRoute"),
            tls_routes: engine.input("TLSRoute"),
            udp_routes: engine.input("UDPRoute"),
            reference_grants: engine.input("ReferenceGrant"),
            services: engine.input("Service"),
            endpoint_slices: engine.input("EndpointSlice"),
            secrets: engine.input("Secret"),
            config_maps: engine.input("ConfigMap"),
            backend_tls_policies: engine.input("BackendTLSPolicy"),
            xbackends: engine.input("XBackend"),
            backend_traffic_policies: engine.input("XBackendTrafficPolicy"),
            authorization_policies: engine.input("AuthorizationPolicy"),
            request_authentications: engine.input("RequestAuthentication"),
            unreadable: engine.input("unreadable objects"),
            fetched_keys: engine.input("fetched keys"),
        }
    }

    /// Notes in a batch that an object is there, or is there anew.
    pub fn set(&self, batch: &mut Batch, object: Object) {
        let metadata = object.metadata();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let key = ObjectKey::new(namespace, metadata.name.as_deref().unwrap_or_default());
        match object {
            Object::Namespace(object) => batch.set(&self.namespaces, key, object),
            Object::GatewayClass(object) => batch.set(&self.gateway_classes, key, object),
            Object::Gateway(object) => batch.set(&self.gateways, key, object),
            Object::ListenerSet(object) => batch.set(&self.listener_sets, key, object),
            Object::HttpRoute(object) => batch.set(&self.http_routes, key, object),
            Object::GrpcRoute(object) => batch.set(&self.grpc_routes, key, object),
            Object::TcpRoute(object) => batch.set(&self.tcp_routes, key, object),
            Object::TlsRoute(object) => batch.set(&self.tls_routes, key, object),
            Object::UdpRoute(object) => batch.set(&self.udp_routes, key, object),
            Object::ReferenceGrant(object) => batch.set(&self.reference_grants, key, object),
            Object::Service(object) => batch.set(&self.services, key, object),
            Object::EndpointSlice(object) => batch.set(&self.endpoint_slices, key, object),
            Object::Secret(object) => batch.set(&self.secrets, key, object),
            Object::ConfigMap(object) => batch.set(&self.config_maps, key, object),
            Object::BackendTlsPolicy(object) => batch.set(&self.backend_tls_policies, key, object),
            Object::XBackend(object) => batch.set(&self.xbackends, key, object),
            Object::XBackendTrafficPolicy(object) => batch.set(&self.backend_traffic_policies, key, object),
            Object::AuthorizationPolicy(object) => batch.set(&self.authorization_policies, key, object),
            Object::RequestAuthentication(object) => batch.set(&self.request_authentications, key, object),
        }
    }

    /// Notes in a batch that an object is gone.
    pub fn remove(&self, batch: &mut Batch, kind: Kind, key: ObjectKey) {
        match kind {
            Kind::Namespace => batch.remove(&self.namespaces, key),
            Kind::GatewayClass => batch.remove(&self.gateway_classes, key),
            Kind::Gateway => batch.remove(&self.gateways, key),
            Kind::ListenerSet => batch.remove(&self.listener_sets, key),
            Kind::HttpRoute => batch.remove(&self.http_routes, key),
            Kind::GrpcRoute => batch.remove(&self.grpc_routes, key),
            Kind::TcpRoute => batch.remove(&self.tcp_routes, key),
            Kind::TlsRoute => batch.remove(&self.tls_routes, key),
            Kind::UdpRoute => batch.remove(&self.udp_routes, key),
            Kind::ReferenceGrant => batch.remove(&self.reference_grants, key),
            Kind::Service => batch.remove(&self.services, key),
            Kind::EndpointSlice => batch.remove(&self.endpoint_slices, key),
            Kind::Secret => batch.remove(&self.secrets, key),
            Kind::ConfigMap => batch.remove(&self.config_maps, key),
            Kind::BackendTlsPolicy => batch.remove(&self.backend_tls_policies, key),
            Kind::XBackend => batch.remove(&self.xbackends, key),
            Kind::XBackendTrafficPolicy => batch.remove(&self.backend_traffic_policies, key),
            Kind::AuthorizationPolicy => batch.remove(&self.authorization_policies, key),
            Kind::RequestAuthentication => batch.remove(&self.request_authentications, key),
        }
    }
}
