package swap

import (
	"fmt"
	"slices"
	"time"

	"wasmxds/resource"
)

// slotsAreMentioned is invariant 13: what routes mention about a slot applies to the filter
// in it, and to no other; and a filter that is for some routes is in no slot that the
// Envoy's routes do not mention. Kept by guard, settle, findMentions, routesInDoubt and
// slotsInDoubt.
func slotsAreMentioned(v *state, a action, _ time.Time) error {
	switch a.Type {
	case Route:
		for _, it := range a.Changed {
			if err := v.mentionsFit(it, nil); err != nil {
				return err
			}
			if err := v.mentionsFit(it, v.subs[Extension].flight); err != nil {
				return err
			}
		}
	case Extension:
		routes := v.subs[Route].have.Items
		if flight := v.subs[Route].flight; flight != nil {
			routes = slices.Concat(routes, flight.Changed)
		}
		for _, it := range routes {
			if err := v.mentionsFit(it, a.Response); err != nil {
				return err
			}
		}
	}
	return nil
}

// mentionsFit returns an error if the slots of a listener, with the changes of a response
// applied (nil: none), do not fit its routes.
func (v *state) mentionsFit(routes item, changes *Response) error {
	of, id, own := resource.RoutesOf(routes.Name)
	if !own {
		return nil
	}
	base, mentions := resource.CutMentions(routes.Version)
	mentioned := map[string]bool{}
	for _, m := range mentions {
		mentioned[m.Filter] = true
	}
	l := v.listener(of)
	for _, it := range v.subs[Extension].have.Items {
		its, in, _ := resource.SlotOf(it.Name)
		if its != of || in != id || resource.IsNetworkSlot(it.Name) {
			continue
		}
		comes := false
		if changes != nil {
			if to, ok := changedBy(changes, it.Name); ok {
				comes = !v.heldIn(of, id, v.holds(to), "")
				it = to
			}
		}
		filter := idIn(it)
		if filter == "" {
			continue
		}
		at := mentions.At(resource.SlotNumber(it.Name))
		treated := l != nil && l.RoutesBase == base && treatedBy(l, filter)
		switch {
		case at != "" && at != filter:
			return fmt.Errorf("slot %s holds filter %s, and the routes of listener %s take it for that of %s", it.Name, filter, of, at)
		case at == "" && comes && l != nil && treatedBy(l, filter):
			return fmt.Errorf("filter %s comes into slot %s of listener %s before its routes know of it", filter, it.Name, of)
		case at == "" && (mentioned[filter] || treated):
			return fmt.Errorf("the routes of listener %s do not know of filter %s in slot %s", of, filter, it.Name)
		}
	}
	return nil
}

func treatedBy(l *resource.Listener, id string) bool {
	_, treated := l.Treats(id)
	return treated
}
