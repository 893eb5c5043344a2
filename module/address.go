package module

import (
	"net/netip"
	"slices"
)

// refusedRanges returns the ranges of denied addresses, with descriptions.
// Private and loopback addresses are not denied, since many origins have them.
func refusedRanges() []struct{ prefix, what string } {
	return []struct{ prefix, what string }{
		// Metadata services at other than link-local addresses come first, for
		// a better message.
		{"fd00:ec2::/32", "a metadata service"},      // AWS
		{"fd20:ce::254/128", "a metadata service"},   // Google
		{"100.100.100.200/32", "a metadata service"}, // Alibaba
		{"168.63.129.16/32", "a metadata service"},   // Azure
		{"192.0.0.192/32", "a metadata service"},     // Oracle
		{"169.254.0.0/16", "a link-local address"},
		{"fe80::/10", "a link-local address"},
		{"fec0::/10", "a site-local address"},
		{"0.0.0.0/8", "which is no single host's address"},
		{"::/128", "which is no single host's address"},
		{"224.0.0.0/4", "which is no single host's address"},
		{"ff00::/8", "which is no single host's address"},
		{"240.0.0.0/4", "a reserved address"}, // and broadcast
		{"192.0.0.0/24", "an address of a protocol"},
		{"198.18.0.0/15", "an address for benchmarks"},
		{"100.64.0.0/10", "an address that carriers and clouds share"},
		{"100::/64", "an address that leads nowhere"},
	}
}

// refusedAs returns why an address is denied, or "". It also checks the
// addresses that addr may be translated to.
func refusedAs(addr netip.Addr) (netip.Addr, string) {
	for _, a := range append([]netip.Addr{addr.Unmap().WithZone("")}, embedded(addr)...) {
		for _, r := range refusedRanges() {
			if netip.MustParsePrefix(r.prefix).Contains(a) {
				return a, r.what
			}
		}
	}
	return addr, ""
}

// embedded returns the IPv4 addresses that an IPv6 address may lead to.
func embedded(addr netip.Addr) []netip.Addr {
	if !addr.Is6() || addr.Is4In6() || addr == netip.IPv6Unspecified() || addr == netip.IPv6Loopback() {
		return nil
	}
	b := addr.As16()
	of := func(at ...int) netip.Addr {
		return netip.AddrFrom4([4]byte{b[at[0]], b[at[1]], b[at[2]], b[at[3]]})
	}
	in := func(prefix string) bool { return netip.MustParsePrefix(prefix).Contains(addr.WithZone("")) }
	last := of(12, 13, 14, 15)
	switch {
	case in("2002::/16"): // 6to4
		return []netip.Addr{of(2, 3, 4, 5)}
	case in("2001::/32"): // Teredo: the server, and the inverted client address
		c := last.As4()
		return []netip.Addr{of(4, 5, 6, 7), netip.AddrFrom4([4]byte{^c[0], ^c[1], ^c[2], ^c[3]})}
	case in("::/96"), in("::ffff:0:0:0/96"), in("64:ff9b::/96"): // compatible, translated, NAT64
		return []netip.Addr{last}
	case in("64:ff9b:1::/48"): // NAT64 with a local prefix, in any of RFC 6052's forms
		all := []netip.Addr{last}
		for _, form := range [][]int{{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}} {
			rest := b[form[3]+1:]
			if a := of(form...); !slices.ContainsFunc(rest, func(c byte) bool { return c != 0 }) && a.As4()[0] != 0 {
				all = append(all, a)
			}
		}
		return slices.DeleteFunc(all, func(a netip.Addr) bool { return len(all) > 1 && a == netip.IPv4Unspecified() })
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP
		return []netip.Addr{last}
	}
	return nil
}
