-- _entries: the entries of the two streams by their names.

-- An entry's name is its stream ('h' high priority, 'n' normal) and its id; ids alone may repeat across streams.
local function stream_of(name) return string.sub(name, 1, 1) == 'h' and HIGH or QUEUE, string.sub(name, 2) end

local function entry_of(stream, id)
  local found = redis.pcall('XRANGE', stream, id, id) -- an error: this is no id of an entry
  return found[1] and found[1][2]
end

-- A message is named after its first entry: 'n' is left out. So its id leads to that entry, and back.
local function first_entry(id) return string.sub(id, 1, 1) == 'h' and id or 'n' .. id end
local function id_after(name) return (string.gsub(name, '^n', '')) end
