//! The two fleets that kubemint is tested on.
//!
//! [`control_plane`] starts real clusters: etcd and one kube-apiserver each, built from their Go
//! modules. [`sim`] starts simulated ones: in-process TLS servers with the routes, the RBAC
//! evaluation, the server-side apply and the tokens that kubemint relies on, and with faults to
//! inject. Both hand out [`TestCluster`]s, so that [`kubeconfig_yaml`] and [`Admin`] work for
//! either and one scenario can run against both.
//!
//! The whole API is blocking and may be called from any thread, also from inside a runtime.
//! Everything stops when its handle is dropped, a panic included.
//!
//! ```
//! use kubemint_testkit::sim::{Fleet, FleetOptions};
//! use kubemint_testkit::{Admin, User, kubeconfig_yaml};
//!
//! let fleet = Fleet::start(FleetOptions::named(["prod-eu", "prod-us"]))?;
//! let text = kubeconfig_yaml(&fleet.test_clusters(), User::Admin);
//! assert!(text.contains("name: prod-eu-admin"));
//!
//! let admin = Admin::new(&fleet.cluster("prod-eu"));
//! let namespaces = admin.get("/api/v1/namespaces").expect("an admin may list namespaces");
//! assert_eq!(namespaces["kind"], "NamespaceList");
//! # Ok::<(), std::io::Error>(())
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "the bans keep the product's core pure; a test kit reads the clock and the environment and writes plain files"
)]

pub mod control_plane;
pub mod sim;

mod admin;
mod cluster;
mod identity;
mod limits;
mod pki;

pub use admin::{Admin, ApiStatus, Force, Response};
pub use cluster::{TestCluster, User, kubeconfig_yaml};
pub use limits::raise_open_file_limit;
pub use pki::AdminKey;
