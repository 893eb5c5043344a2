package definition

import "strings"

// DockerHub is the name of Docker Hub in images, and DockerHubHost the host
// that serves it.
const (
	DockerHub     = "docker.io"
	DockerHubHost = "index.docker.io"
)

// ImageURL adds to an oci:// URL the registry that Docker and Istio assume. The
// part before the first slash is a registry if it has a dot, a colon or a
// capital, or is localhost. Otherwise the image is on Docker Hub, where a name
// of one part is below library/.
func ImageURL(url string) string {
	rest, ok := strings.CutPrefix(url, "oci://")
	if !ok {
		return url
	}
	first, below, several := strings.Cut(rest, "/")
	if registry := first == "localhost" || strings.ContainsAny(first, ".:") || strings.ToLower(first) != first; several && registry {
		if first == DockerHub || first == DockerHubHost || first == "registry-1.docker.io" {
			first = DockerHub
			if !strings.Contains(below, "/") {
				below = "library/" + below
			}
		}
		return "oci://" + first + "/" + below
	}
	if !several {
		name, _, _ := strings.Cut(rest, "@")
		name, _, _ = strings.Cut(name, ":")
		if name == "" || name == "localhost" || strings.ContainsAny(name, ".[") {
			return url // a host without a repository
		}
		rest = "library/" + rest
	}
	return "oci://" + DockerHub + "/" + rest
}
