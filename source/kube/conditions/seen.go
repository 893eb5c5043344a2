package conditions

// status is the current status of an object.
type status struct {
	generation int64
	conditions map[string]seenCondition
}

type seenCondition struct {
	condition
	since      string
	generation int64
}

// seen parses the status of an object.
func seen(of map[string]any) status {
	s := status{conditions: map[string]seenCondition{}}
	s.generation, _ = of["observedGeneration"].(int64)
	list, _ := of["conditions"].([]any)
	for _, item := range list {
		m, _ := item.(map[string]any)
		text := func(key string) string { t, _ := m[key].(string); return t }
		c := seenCondition{condition: condition{text("type"), text("status"), text("reason"), text("message")}, since: text("lastTransitionTime")}
		c.generation, _ = m["observedGeneration"].(int64)
		s.conditions[c.Type] = c
	}
	return s
}

// are reports whether these conditions have been written for this generation.
func (s status) are(generation int64, all []condition) bool {
	if s.generation != generation {
		return false
	}
	for _, c := range all {
		if was := s.conditions[c.Type]; was.condition != c || was.generation != generation {
			return false
		}
	}
	return true
}
