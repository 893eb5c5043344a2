package main

// shares are how many connections each address has at once, so that none of them
// takes the files that the others need, or that definitions are read by.
type shares struct{ ads, modules, admin, peers int }

// Most connections that an HTTP address has at once, and that are for access logs.
// An Envoy has one to the module server while it downloads.
const (
	modulesConnections = 10_000
	adminConnections   = 1_000
	logsConnections    = 4_096
	peerConnections    = 256
)

const (
	ownFiles    = 64 // for definitions, modules, origins, the log
	unknownOpen = 1 << 20
)

// shareFiles shares the files that the process may have open. Where ads is not 0,
// somebody has asked for that many connections of Envoys; with peers, other servers
// have a share.
func shareFiles(files, ads int, peers bool) shares {
	rest := max(files-ownFiles, 16)
	s := shares{ads: ads}
	if peers {
		s.peers = min(max(rest/16, 4), peerConnections)
		rest = max(rest-s.peers, 16)
	}
	s.admin = min(max(rest/8, 4), adminConnections)
	if s.ads == 0 {
		s.ads = rest / 2
	}
	s.modules = min(max(rest-rest/2-s.admin, 4), modulesConnections)
	return s
}

// logs are how many of the connections to the ADS address may be for access logs.
// Each worker thread of an Envoy has one while it has something to tell; what
// crashes everywhere is known by few of them.
func (s shares) logs() int { return min(max(s.ads/4, 1), logsConnections) }
