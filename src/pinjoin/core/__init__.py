"""Words every layer shares: ids, types, configuration, errors, top-k. Imports nothing of ours."""
