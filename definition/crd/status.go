package crd

import "maps"

// status returns the schema of what xds-server writes into the status of an
// object.
func status() schema {
	text := schema{"type": "string"}
	generation := schema{"type": "integer", "format": "int64"}
	return schema{
		"type": "object", "description": "What became of it, where xds-server has --kubernetes-status.",
		"properties": schema{
			"observedGeneration": generation,
			"conditions": schema{
				"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": []string{"type"},
				"items": schema{
					"type": "object", "required": []string{"type", "status", "lastTransitionTime", "reason", "message"},
					"properties": schema{
						"type": text, "reason": text, "message": text, "observedGeneration": generation,
						"status":             schema{"type": "string", "enum": []string{"True", "False", "Unknown"}},
						"lastTransitionTime": schema{"type": "string", "format": "date-time"},
					},
				},
			},
		},
	}
}

// changeStatus returns the schema of what xds-server writes into the status of
// a change.
func changeStatus() schema {
	text := schema{"type": "string"}
	number := schema{"type": "integer", "minimum": 0}
	at := schema{"type": "string", "format": "date-time"}
	says := func(of schema, description string) schema {
		with := maps.Clone(of)
		with["description"] = description
		return with
	}
	return schema{
		"type": "object", "description": "How far it is, where xds-server has --kubernetes-status.",
		"properties": schema{
			"id":       says(text, "By which xds-server rollout knows it; the name is its beginning."),
			"of":       says(text, "The definitions that it changes, in short."),
			"state":    says(text, "waiting, rolling, paused, stopped, done or superseded."),
			"message":  says(text, "How far it is, and why no further."),
			"reason":   says(text, "Why it is paused or stopped."),
			"policy":   says(text, "The Rollout by which it goes; it went everywhere at once if there is none."),
			"opened":   at,
			"ended":    at,
			"wave":     says(number, "The wave that it is in; 0: none has begun."),
			"waves":    says(number, "The waves of its policy."),
			"inWave":   says(text, "wave of waves"),
			"progress": says(text, "envoys.running of envoys.concerned"),
			"envoys": schema{"type": "object", "properties": schema{
				"concerned": says(number, "Connected Envoys that it is for."),
				"reached":   says(number, "Of them, those that are to have it so far."),
				"running":   says(number, "Of them, those that run it."),
			}},
			"definitions": schema{"type": "array", "maxItems": 100, "items": schema{
				"type": "object", "properties": schema{"kind": text, "name": text, "what": says(text, "added, changed or removed")},
			}},
		},
	}
}
