# What jq reads of JSON documents: each a JSON string on a line; a line of JSON for each.
def told:
  if type == "number" then "#" + (. + 0 | tostring)
  elif type == "array" then map(if type == "string" then . else "?" end)
  elif type == "object" then "{}"
  else . end;
def at($path): reduce $path[] as $key (.; if type == "object" then .[$key] else null end);
try (fromjson | [at($paths[] | split(".")) | told]) catch {refused: .}
