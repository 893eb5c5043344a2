// Package conditions reports the state of Kubernetes objects in the conditions
// of their status, and by Events. It also reports how far changes are, in
// objects of its own.
//
// Start with [Writer], and [Changes]. A Writer writes an object when its
// conditions change, at most once a second, whatever the number of Envoys.
// Accepted means that xds-server accepts the object as it is. Running means
// that all Envoys that should have the filter run it. Neither is set for a
// generation that has not been processed.
package conditions

import (
	"fmt"
	"strings"

	"wasmxds/admin"
	"wasmxds/module"
	"wasmxds/rollout"
	"wasmxds/source"
	"wasmxds/source/kube"
)

// Condition types.
const (
	typeAccepted = "Accepted"
	typeRunning  = "Running"
)

// stopped is the reason for a filter whose change was stopped.
const stopped = "Stopped"

// condition is a condition of an object's status, without its transition time.
type condition struct {
	Type, Status, Reason, Message string
}

const (
	yes     = "True"
	no      = "False"
	unknown = "Unknown"
)

// fleet is the state of the Envoys, by filter.
type fleet struct {
	status  *admin.Status
	worst   map[string]string        // message of an Envoy on which a filter failed
	filters map[string]*admin.Filter // by the object that defines them
}

func newFleet(status *admin.Status, worst map[string]string) fleet {
	f := fleet{status, worst, make(map[string]*admin.Filter, len(status.Filters))}
	for i := range status.Filters {
		if of := &status.Filters[i]; of.VariantOf == "" { // a variant is defined by a Listener
			f.filters[of.File] = of
		}
	}
	return f
}

// unheard returns the number of other servers that can't be reached and whose
// Envoys may be missing from the counts.
func (f fleet) unheard() int {
	n := 0
	for _, r := range f.status.Replicas {
		if r.Lives && !r.Self && r.Trouble != "" {
			n++
		}
	}
	return n
}

// of returns the conditions of an object. There are none before its generation
// has been processed.
func of(o kube.Object, taken source.Object, f fleet) []condition {
	if taken.Revision != fmt.Sprint(o.Generation) {
		return nil
	}
	all := []condition{accepted(taken)}
	if o.Kind == "WasmFilter" || o.Kind == "LuaFilter" {
		all = append(all, running(o, taken, f))
	}
	return all
}

// maxProblems bounds the number of an object's problems in a message.
const maxProblems = 5

func accepted(taken source.Object) condition {
	switch {
	case len(taken.Problems) > 0:
		var told []string
		for i, p := range taken.Problems {
			if i == maxProblems {
				told = append(told, fmt.Sprintf("and %d more", len(taken.Problems)-i))
				break
			}
			told = append(told, strings.TrimPrefix(p.Field+": "+p.Message, ": "))
		}
		return condition{typeAccepted, no, "Invalid", strings.Join(told, "; ")}
	case !taken.Good:
		return condition{typeAccepted, unknown, "Waiting", "what was last good of it stays for now"}
	}
	return condition{typeAccepted, yes, "Accepted", ""}
}

// running returns whether all Envoys that should have a filter run it as it is
// written.
func running(o kube.Object, taken source.Object, f fleet) condition {
	not := func(reason, message string) condition { return condition{typeRunning, no, reason, message} }
	at := f.filters[o.String()]
	switch {
	case at == nil && !taken.Good:
		return not("NotAccepted", "nothing of it was ever good")
	case at == nil:
		return not("Pending", "is on its way")
	}
	message := fmt.Sprintf("%d of %d Envoys run %s", at.Running, at.Nodes, short(at.SHA256))
	with := func(more string) string {
		if more == "" {
			return message
		}
		return message + "; " + more
	}
	switch {
	case at.Generation != o.Generation:
		return not("Pending", with("that of an earlier generation"))
	case at.State == module.Failed:
		return not("ModuleFailed", with(at.Reason))
	case at.State != module.Good:
		return not("ModuleFetching", with(at.Reason))
	}
	if open := f.status.Unfinished(at.Name); len(open) > 0 {
		if open[0].State == rollout.Stopped {
			return not(stopped, with(open[0].Words))
		}
		return not("RollingOut", with(open[0].Words))
	}
	switch {
	case at.Failed > 0:
		return not("Failed", with(f.worst[at.Name]))
	case at.Nodes+at.Away == 0:
		return condition{typeRunning, unknown, "NoEnvoys", "no Envoy is to have it"}
	case at.Away > 0:
		return not("EnvoysAway", with(fmt.Sprintf("%d more are away", at.Away)))
	case !f.status.Done(at.Name, "", admin.Quorum{Min: 1}):
		return not("Pending", message)
	case f.unheard() > 0:
		return condition{typeRunning, unknown, "OtherServers", with(fmt.Sprintf("those of %d other xds-servers may not be counted, as these are not heard", f.unheard()))}
	}
	return condition{typeRunning, yes, "Running", message}
}

// short returns an abbreviated hash.
func short(sha256 string) string {
	if sha256 == "" {
		return "a module that is not pinned"
	}
	return "sha256:" + sha256[:min(12, len(sha256))]
}
