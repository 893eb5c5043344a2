package admin

import (
	"net/url"
	"strconv"
)

// query is the selection in a list, from its URL.
type query struct {
	Path  string
	Text  string // text to search for in names
	State string // "": any
	By    string // grouping
	In    string // group to show; "": all
	Page  int    // from 1
}

func queryOf(path string, form url.Values) query {
	page, err := strconv.Atoi(form.Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	return query{Path: path, Text: form.Get("q"), State: form.Get("state"), By: form.Get("by"), In: form.Get("in"), Page: page}
}

// link returns the URL of the list with this selection.
func (q query) link() string {
	v := url.Values{}
	for key, value := range map[string]string{"q": q.Text, "state": q.State, "by": q.By, "in": q.In} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.Page > 1 {
		v.Set("page", strconv.Itoa(q.Page))
	}
	if len(v) == 0 {
		return q.Path
	}
	return q.Path + "?" + v.Encode()
}

// Narrow reports whether there is a selection.
func (q query) Narrow() bool { return q.Text != "" || q.State != "" || q.In != "" }

// tab is a link that selects a state.
type tab struct {
	State   string
	Count   int
	Link    string
	Current bool
}

func (q query) tab(state string, count int) tab {
	to := q
	to.State, to.Page = state, 1
	return tab{State: state, Count: count, Link: to.link(), Current: q.State == state}
}

// pageOf is the position of a page in a list.
type pageOf struct {
	From, To, Of   int // from 1
	Previous, Next string
}

// cut returns the range of a list of n elements for the selected page, and the
// page's position.
func (q query) cut(n, size int) (from, to int, p pageOf) {
	last := max(1, (n+size-1)/size)
	q.Page = min(q.Page, last)
	from, to = (q.Page-1)*size, min(q.Page*size, n)
	p = pageOf{From: min(from+1, n), To: to, Of: n}
	if at := q; q.Page > 1 {
		at.Page--
		p.Previous = at.link()
	}
	if at := q; q.Page < last {
		at.Page++
		p.Next = at.link()
	}
	return from, to, p
}
