-- What jsonb reads of a JSON document given in hexadecimal: the values at paths, or why it is refused.
CREATE FUNCTION told(value jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE jsonb_typeof(value)
    WHEN 'number' THEN to_jsonb('#' || value::text)
    WHEN 'object' THEN '"{}"'
    WHEN 'array' THEN (
      SELECT coalesce(jsonb_agg(CASE jsonb_typeof(item) WHEN 'string' THEN item ELSE '"?"' END ORDER BY place), '[]')
      FROM jsonb_array_elements(value) WITH ORDINALITY AS items(item, place))
    ELSE value END
$$;
CREATE FUNCTION member(document jsonb, path text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN array_length(path, 1) = 1 OR jsonb_typeof(document -> path[1]) = 'object'
    THEN document #> path END
$$;
CREATE FUNCTION judge(hex text, paths text[]) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  document jsonb;
  detail text;
BEGIN
  document := convert_from(decode(hex, 'hex'), 'UTF8')::jsonb;
  RETURN (SELECT jsonb_agg(told(member(document, string_to_array(path, '.'))) ORDER BY place)
    FROM unnest(paths) WITH ORDINALITY AS wanted(path, place));
EXCEPTION WHEN data_exception THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RETURN jsonb_build_object('refused', SQLSTATE || ' ' || SQLERRM || ': ' || detail);
END
$$;
