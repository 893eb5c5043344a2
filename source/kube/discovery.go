package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"k8s.io/client-go/rest"
)

// discovery queries which kinds the API server serves.
type discovery struct {
	client *http.Client
	base   *url.URL
}

func newDiscovery(config *rest.Config) (*discovery, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	return &discovery{client: client, base: base}, nil
}

// maxDiscovery bounds the size of a response in bytes.
const maxDiscovery = 4 << 20

// lasts reports whether a kind is served and not being deleted: objects of a
// CRD that is being deleted can't be created any more.
func (d *discovery) lasts(ctx context.Context, k kind) (lasts bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	at := d.base.JoinPath("apis", k.group, k.version)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return false, fmt.Errorf("ask for %s: %w", at.Path, err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := d.client.Do(request)
	if err != nil {
		return false, fmt.Errorf("ask for %s: %w", at.Path, err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusNotFound:
		return false, nil
	case http.StatusOK:
	default:
		return false, fmt.Errorf("ask for %s: %s", at.Path, response.Status)
	}
	var list struct {
		Resources []struct {
			Name  string   `json:"name"`
			Verbs []string `json:"verbs"`
		} `json:"resources"`
	}
	body := io.LimitReader(response.Body, maxDiscovery)
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		return false, fmt.Errorf("read %s: %w", at.Path, err)
	}
	for _, r := range list.Resources {
		if r.Name == k.plural {
			return slices.Contains(r.Verbs, "create"), nil
		}
	}
	return false, nil
}
