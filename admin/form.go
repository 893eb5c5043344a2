package admin

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"wasmxds/rollout"
)

// may describes how the viewer of a page may change something: by a form with a
// field for the token, each time, so that there is no session that another site
// could exploit; or, with an operator's certificate, by a form with a hidden
// value that only our own page knows.
type may struct {
	Token bool   // the form has a field for it
	CSRF  string // hidden value of the form; "": not required
	Says  string // why there is no form; "": there is one
}

// formKey is the key of hidden values in forms. It is valid as long as the
// process runs.
type formKey [32]byte

func newFormKey() *formKey {
	k := new(formKey)
	rand.Read(k[:])
	return k
}

// may returns what forms the page of a request has.
func (o *Operators) may(r *http.Request) may {
	switch by, csrf := o.certified(r); {
	case o.none():
		return may{Says: "Nothing can be changed here: xds-server runs without --operate-token-file."}
	case by != "":
		return may{CSRF: csrf}
	case o.Token != nil:
		return may{Token: true}
	}
	return may{Says: "Your certificate is for reading: operators are named in the policy."}
}

// certified returns the operator whose certificate was used for a request, and
// the hidden value of forms for it, or "" if there is none.
func (o *Operators) certified(r *http.Request) (by, csrf string) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || o.Certificate == nil {
		return "", ""
	}
	cert := r.TLS.VerifiedChains[0][0]
	if by = o.Certificate(cert); by == "" {
		return "", ""
	}
	mac := hmac.New(sha256.New, o.key[:])
	mac.Write(cert.Raw)
	return by, hex.EncodeToString(mac.Sum(nil))
}

// maxForm bounds the size of a form in bytes.
const maxForm = 8 << 10

// serveForm executes an operator's command from the page.
func (s *Server) serveForm(w http.ResponseWriter, r *http.Request) {
	refused := elsewhere(r)
	var form url.Values
	if refused == nil {
		form, refused = readForm(w, r)
	}
	by := ""
	if refused == nil {
		by, refused = s.opts.Operators.byForm(r, form)
	}
	if refused != nil {
		s.opts.Operators.note(r, refused)
		s.refusePage(w, r, refused)
		return
	}
	verb := rollout.Verb(form.Get("command"))
	if !slices.Contains(rollout.Verbs(), verb) {
		s.refusePage(w, r, &refusal{http.StatusBadRequest, fmt.Sprintf("there is no command %q", verb)})
		return
	}
	var o CommandOptions
	if verb == rollout.Rollback {
		o = CommandOptions{To: form.Get("to"), AtOnce: form.Get("atOnce") == "true"}
	}
	done, err := s.operate(r.Context(), verb, r.PathValue("id"), o, by)
	if err != nil {
		s.refusePage(w, r, refusalOf(err))
		return
	}
	next := "/rollouts"
	if done.Change != nil {
		next += "/" + url.PathEscape(done.Change.ID)
	}
	secure(w.Header())
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *refusal) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, &refusal{http.StatusUnsupportedMediaType, "this is for the page's own forms; programs have POST /api/v1/rollouts/ID/COMMAND"}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, &refusal{http.StatusBadRequest, fmt.Sprintf("the form can't be read: %v", err)}
	}
	return r.PostForm, nil
}

// byForm returns the operator that sent a form. It ignores a password that the
// browser has cached for the page, because the browser would send it with any
// form.
func (o *Operators) byForm(r *http.Request, form url.Values) (string, *refusal) {
	if by, csrf := o.certified(r); by != "" {
		if !same([]byte(form.Get("csrf")), []byte(csrf)) {
			return "", &refusal{http.StatusForbidden, "this form is not of the page as it is now: load the page again"}
		}
		return by, nil
	}
	return o.who(r, []byte(form.Get("token")))
}

// refusePage responds to a form with an error page.
func (s *Server) refusePage(w http.ResponseWriter, r *http.Request, why *refusal) {
	s.showRefusal(w, s.frame(r, http.StatusText(why.code), ""), why)
}

// refuseMoving responds to a page with an error page. The status of changes is
// given, since that may be what failed.
func (s *Server) refuseMoving(w http.ResponseWriter, moving rollout.Status, failed, err error) {
	why := refusalOf(err)
	s.showRefusal(w, s.frameOf(http.StatusText(why.code), "", moving, failed), why)
}

func (s *Server) showRefusal(w http.ResponseWriter, f frame, why *refusal) {
	s.show(w, why.code, "error", struct {
		frame
		Text string
	}{f, why.text})
}
