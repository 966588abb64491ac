//! Clusters, and which endpoint gets a request.

use super::Target;
use crate::config::{Balance, Cluster, ClusterSpec, Endpoints, Health, Name};
use rustc_hash::FxHashMap;
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

/// The clusters that this worker has used.
#[derive(Default)]
pub(crate) struct Clusters(RefCell<FxHashMap<Name, Rc<Group>>>);

/// A cluster with its endpoints as they are now. Targets, and so pools, outlive a change of the endpoints.
pub(crate) struct Group {
    /// What the cluster is.
    pub(crate) spec: Arc<ClusterSpec>,
    endpoints: Arc<Endpoints>,
    targets: Vec<Rc<Target>>,
    /// Which targets may be chosen, with the sum of the weights up to each.
    eligible: Vec<(usize, u64)>,
    turn: Cell<usize>,
}

impl Clusters {
    /// The group of a cluster, made again only if the cluster has changed. `endpoints` are those of the configuration
    /// or what DNS said.
    pub(crate) fn group(&self, cluster: &Cluster, endpoints: &Arc<Endpoints>) -> Rc<Group> {
        let mut groups = self.0.borrow_mut();
        let old = groups.get(&cluster.spec.name);
        if let Some(group) = old
            && Arc::ptr_eq(&group.spec, &cluster.spec)
            && Arc::ptr_eq(&group.endpoints, endpoints)
        {
            return group.clone();
        }
        let group = Rc::new(Group::new(cluster.spec.clone(), endpoints.clone(), old));
        groups.insert(cluster.spec.name.clone(), group.clone());
        group
    }

    /// Closes idle connections that are too old or closed by the backend, and forgets clusters that are gone.
    pub(crate) fn sweep(&self, exists: impl Fn(&Name) -> bool) {
        self.0.borrow_mut().retain(|name, group| {
            group.targets.iter().for_each(|target| target.sweep());
            exists(name)
        });
    }
}

impl Group {
    fn new(spec: Arc<ClusterSpec>, endpoints: Arc<Endpoints>, old: Option<&Rc<Group>>) -> Self {
        let known: FxHashMap<_, _> = old
            .filter(|old| old.spec == spec)
            .into_iter()
            .flat_map(|old| &old.targets)
            .map(|target| (target.address, target))
            .collect();
        let target = |address| known.get(&address).map_or_else(|| Rc::new(Target::new(address, &spec)), |&t| t.clone());
        let targets: Vec<_> = endpoints.list.iter().map(|endpoint| target(endpoint.address)).collect();
        let eligible = eligible(&endpoints, spec.panic_threshold);
        Self { spec, endpoints, targets, eligible, turn: Cell::new(0) }
    }

    /// The endpoint for the next request; none if there is no usable one. `avoid` was tried before and is taken only
    /// if nothing else is there.
    pub(crate) fn pick(&self, mut random: impl FnMut() -> u64, avoid: Option<&Rc<Target>>) -> Option<&Rc<Target>> {
        let mut draw = || self.draw(random());
        let mut chosen = match self.spec.balance {
            _ if self.eligible.len() < 2 => self.eligible.first().map(|&(index, _)| index)?,
            Balance::RoundRobin => {
                let turn = self.turn.get();
                self.turn.set(turn.wrapping_add(1));
                // In turn by weight: the position in the sum of weights moves by a stride that visits all of them.
                let total = self.eligible.last()?.1;
                self.at((turn as u64).wrapping_mul(stride(total)) % total)
            }
            Balance::Random => draw(),
            Balance::LeastRequest { choices } => {
                let mut best = draw();
                for _ in 1..choices.clamp(2, 16) {
                    let other = draw();
                    if self.load(other) < self.load(best) {
                        best = other;
                    }
                }
                best
            }
        };
        for _ in 0..8 {
            if self.eligible.len() > 1 && avoid.is_some_and(|avoid| Rc::ptr_eq(avoid, &self.targets[chosen])) {
                chosen = draw();
            }
        }
        Some(&self.targets[chosen])
    }

    /// The endpoint with that address, if it is usable.
    pub(crate) fn find(&self, address: SocketAddr) -> Option<&Rc<Target>> {
        let usable = self.eligible.iter().map(|&(index, _)| &self.targets[index]);
        usable.into_iter().find(|target| target.address == address)
    }

    /// Requests under way for each unit of weight, scaled.
    fn load(&self, index: usize) -> u64 {
        let weight = u64::from(self.endpoints.list[index].weight.max(1));
        (u64::from(self.targets[index].active()) << 20) / weight
    }

    fn draw(&self, random: u64) -> usize {
        let total = self.eligible.last().map_or(1, |&(_, upto)| upto);
        // The high half of the product: without the bias and the cost of a division.
        self.at(((u128::from(random) * u128::from(total)) >> 64) as u64)
    }

    /// Who stands at that position in the sum of the weights.
    fn at(&self, position: u64) -> usize {
        let at = self.eligible.partition_point(|&(_, upto)| upto <= position);
        self.eligible[at.min(self.eligible.len() - 1)].0
    }
}

/// A number without a common divisor with `total`, near its golden section: steps of it spread evenly.
fn stride(total: u64) -> u64 {
    fn gcd(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    let near = (total as f64 * 0.618) as u64;
    (near.max(1)..=total).find(|&stride| gcd(stride, total) == 1).unwrap_or(1)
}

/// The healthy endpoints of the first priority that has any; all of the first priority in panic.
fn eligible(endpoints: &Endpoints, panic_threshold: u8) -> Vec<(usize, u64)> {
    let of = |priority: u32, healthy_only: bool| {
        let mut upto = 0;
        let usable = endpoints.list.iter().enumerate().filter(move |(_, endpoint)| {
            endpoint.priority == priority && (endpoint.health == Health::Healthy || !healthy_only)
        });
        usable
            .map(|(index, endpoint)| {
                upto += u64::from(endpoint.weight.max(1));
                (index, upto)
            })
            .collect::<Vec<_>>()
    };
    let mut priorities: Vec<u32> = endpoints.list.iter().map(|endpoint| endpoint.priority).collect();
    priorities.dedup();
    for &priority in &priorities {
        let healthy = of(priority, true);
        if !healthy.is_empty() {
            let all = endpoints.list.iter().filter(|endpoint| endpoint.priority == priority).count();
            let panics = healthy.len() * 100 < all * usize::from(panic_threshold);
            return if panics { of(priority, false) } else { healthy };
        }
    }
    match priorities.first() {
        Some(&first) if panic_threshold > 0 => of(first, false),
        _ => Vec::new(),
    }
}
