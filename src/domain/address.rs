//! Blocks of addresses: what one client has for itself, and so can choose among at will.

use std::net::IpAddr;

/// An IPv4 address, or the first 64 bits of an IPv6 address, which is what a single customer or machine is given at least
/// (RFC 6177, RFC 7934). An IPv4 address written as IPv6 is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressBlock {
    version: u8,
    network: u64,
}

impl AddressBlock {
    /// The block that an address lies in.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self { version: 4, network: address.to_bits().into() },
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let network = [a, b, c, d].into_iter().fold(0, |network, part| network << 16 | u64::from(part));
                Self { version: 6, network }
            }
        }
    }

    /// The same bytes for the same block.
    pub fn bytes(self) -> [u8; 9] {
        let mut bytes = [self.version; 9];
        bytes.iter_mut().zip(self.network.to_be_bytes()).for_each(|(to, from)| *to = from);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> AddressBlock {
        AddressBlock::of(text.parse().expect("an address"))
    }

    #[test]
    fn addresses_that_one_client_can_choose_among_are_one_block() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("::c000:201", "192.0.2.1", false),
            ("0.0.0.0", "::", false),
        ] {
            assert_eq!(block(one) == block(other), same, "{one} {other}");
            assert_eq!(block(one).bytes() == block(other).bytes(), same, "{one} {other}");
        }
    }
}
