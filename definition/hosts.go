package definition

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

// mostEntries bounds the number of entries in a listener's virtual hosts: each
// route is repeated in all virtual hosts that it may apply to.
const mostEntries = 50_000

func (d *Doc) hosts(path string, hosts []string) []string {
	if hosts != nil && len(hosts) == 0 {
		d.Problem(path, "leave it out to match all", "is empty")
	}
	var made []string
	for i, host := range hosts {
		at := document.Index(path, i)
		host = strings.ToLower(host)
		switch {
		case slices.Contains(made, host):
			d.Problem(at, "", "%s is listed twice", host)
		case host == "*" || isHost(strings.TrimPrefix(host, "*.")):
		default:
			hint := "a.example, or *.example for all below it"
			if name, _, ok := strings.Cut(host, ":"); ok && isHost(name) {
				hint = "write " + name + ": ports do not count"
			}
			d.Problem(at, hint, "%q is not the name of a host", host)
		}
		made = append(made, host)
	}
	if len(made) == 1 && made[0] == "*" {
		return nil
	}
	return made
}

// isHost reports whether s is a host name in lower case, or an IP address as
// written in URLs.
func isHost(s string) bool {
	if address, ok := strings.CutPrefix(s, "["); ok {
		ip, err := netip.ParseAddr(strings.TrimSuffix(address, "]"))
		return err == nil && ip.Is6() && ip.Zone() == "" && strings.HasSuffix(s, "]")
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return len(s) <= 253
}

// VirtualHost has the routes of some hosts.
type VirtualHost struct {
	Domains []string // as Envoy writes them: a.example, *.example, *
	Routes  []int    // indices, in order
}

// VirtualHosts groups routes into virtual hosts. Envoy chooses the virtual host
// with the most specific domain, so each has all routes that apply to its
// hosts: then the first route that matches is used, whatever hosts other routes
// name. Hosts with the same routes are grouped together.
func VirtualHosts(routes []Route) []VirtualHost {
	var domains []string
	of := map[string][]int{} // routes that name the host
	for i, r := range routes {
		hosts := r.Hosts
		if len(hosts) == 0 {
			hosts = []string{"*"}
		}
		for _, host := range hosts {
			if of[host] == nil {
				domains = append(domains, host)
			}
			of[host] = append(of[host], i)
		}
	}
	var hosts []VirtualHost
	at := map[string]int{}
	for _, domain := range domains {
		var all []int
		for _, host := range wider(domain) {
			all = append(all, of[host]...)
		}
		slices.Sort(all)
		all = slices.Compact(all)
		key := fmt.Sprint(all)
		if i, ok := at[key]; ok {
			hosts[i].Domains = append(hosts[i].Domains, domain)
			continue
		}
		at[key] = len(hosts)
		hosts = append(hosts, VirtualHost{[]string{domain}, all})
	}
	return hosts
}

// wider returns the domain and all wildcards that include it.
func wider(domain string) []string {
	all := []string{domain}
	for name := strings.TrimPrefix(domain, "*."); ; {
		_, rest, ok := strings.Cut(name, ".")
		if !ok || strings.HasPrefix(domain, "[") {
			break
		}
		all = append(all, "*."+rest)
		name = rest
	}
	if domain != "*" {
		all = append(all, "*")
	}
	return all
}

// reachable warns about routes that no request can reach, and checks the number
// of entries.
func (d *Doc) reachable(routes []Route) {
	first := map[string]int{}
	everything := -1
	for i, r := range routes {
		path := document.Index("routes", i)
		if everything >= 0 {
			d.Warn(path, "the first route that matches counts", "no request comes to it: %s takes all", document.Index("routes", everything))
			break
		}
		key := fmt.Sprintf("%q%q%q%q", r.Prefix, r.Path, r.Regex, r.Headers) + fmt.Sprintf("%q%q", sorted(r.Hosts), sorted(r.Methods))
		if other, ok := first[key]; ok {
			d.Warn(path, "the first route that matches counts", "no request comes to it: %s matches the same", document.Index("routes", other))
		} else {
			first[key] = i
		}
		if r.Prefix == "/" && len(r.Hosts)+len(r.Methods)+len(r.Headers) == 0 {
			everything = i
		}
	}
	entries := 0
	for _, h := range VirtualHosts(routes) {
		entries += len(h.Routes)
	}
	if entries > mostEntries {
		d.Problem("routes", "split the listener", "%d hosts and routes together, %d at most", entries, mostEntries)
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }
