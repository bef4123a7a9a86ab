-- _fields: fields of an entry are a flat list of names and values.

-- Lua can pass about 8,000 values to one call; a hostile entry may have more fields than that.
local MOST_VALUES = 1000

local function field_of(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end

local function append_all(list, more)
  for _, value in ipairs(more) do list[#list + 1] = value end
  return list
end

-- Fields without those of these names, bounded.
local function without(fields, names)
  local kept, dropped = {}, {}
  for _, name in ipairs(names) do dropped[name] = true end
  for i = 1, #fields, 2 do
    if not dropped[fields[i]] and #kept < MOST_VALUES then
      kept[#kept + 1] = fields[i]
      kept[#kept + 1] = fields[i + 1]
    end
  end
  return kept
end
