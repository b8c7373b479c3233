//! From a host name to its addresses.

use std::io;
use std::net::IpAddr;

use futures_util::future::BoxFuture;

/// The addresses of a name.
pub type Resolving<'a> = BoxFuture<'a, io::Result<Vec<IpAddr>>>;

/// Resolves names. [`crate::Outbound`] asks once for each request, and connects to nothing but what was answered then.
pub trait Resolve: Send + Sync {
    /// The addresses of `name`. A name that ends with a dot is absolute.
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}
