package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"wasmxds/printable"
)

// Client reads the status document of a running xds-server.
type Client struct {
	URL  string // of the admin address: "http://127.0.0.1:19000"
	HTTP *http.Client
}

// Status gets the whole document, all pages of nodes.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	var whole *Status
	for after := ""; ; {
		page, err := c.Page(ctx, after, maxNodes)
		if err != nil {
			return nil, err
		}
		if whole == nil {
			whole = page
		} else {
			whole.Nodes = append(whole.Nodes, page.Nodes...)
		}
		if page.Next == "" || page.Next == after {
			whole.Next = ""
			return whole, nil
		}
		after = page.Next
	}
}

// Page gets the document with up to limit nodes after the one with the id.
func (c *Client) Page(ctx context.Context, after string, limit int) (*Status, error) {
	at := strings.TrimSuffix(c.URL, "/") + "/api/v1/status?" +
		url.Values{"after": {after}, "limit": {fmt.Sprint(limit)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for the status: %w", err)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for the status: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return nil, fmt.Errorf("ask for the status: %s answers %s: %s", c.URL, resp.Status, printable.Text(strings.TrimSpace(string(text))))
	}
	page := new(Status)
	if err := json.NewDecoder(resp.Body).Decode(page); err != nil {
		return nil, fmt.Errorf("read the status of %s: %w", c.URL, err)
	}
	return page, nil
}
