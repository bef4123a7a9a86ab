-- _clip: what is handed to a daemon has a bound.
-- include: fields

-- An entry as the daemon wants it: {name, fields, octets}, without fields that are too large or too many to read. `initial`
-- is that of its stream.
local function clip(initial, entry, most_octets)
  local octets = 0
  for _, value in ipairs(entry[2]) do octets = octets + #value end
  local fits = octets <= most_octets and #entry[2] <= MOST_VALUES
  return {initial .. entry[1], fits and entry[2] or false, octets}
end
