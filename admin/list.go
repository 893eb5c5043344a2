package admin

import (
	"net/url"
	"strconv"
)

// query is what is chosen of a list, as its address says.
type query struct {
	Path  string
	Text  string // looked for in names
	State string // ""; any
	By    string // what it is grouped by
	In    string // the group that is shown; "": all
	Page  int    // from 1
}

func queryOf(path string, form url.Values) query {
	page, err := strconv.Atoi(form.Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	return query{Path: path, Text: form.Get("q"), State: form.Get("state"), By: form.Get("by"), In: form.Get("in"), Page: page}
}

// link is the address of the list, so chosen.
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

// Narrow says whether something is chosen.
func (q query) Narrow() bool { return q.Text != "" || q.State != "" || q.In != "" }

// tab is a choice of a state.
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

// pageOf is a part of a list.
type pageOf struct {
	From, To, Of   int // from 1
	Previous, Next string
}

// cut gives the part of a list of n that is asked for, and where it is.
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
