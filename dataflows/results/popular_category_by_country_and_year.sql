-- popular_category_by_country_and_year: posts per category in each country and year, the most popular first
SELECT country,        -- country the posts came from
       post_year,      -- UTC year of the posts
       category,       -- category of the posts
       category_count, -- number of posts
       rank            -- place in the group; equal values share a place
FROM (
  SELECT *,
         rank() OVER (PARTITION BY country, post_year ORDER BY category_count DESC) AS rank,
         row_number() OVER (PARTITION BY country, post_year ORDER BY category_count DESC, category COLLATE "C") AS place
  FROM (
    SELECT geo.country,
           EXTRACT(YEAR FROM geo."timestamp")::integer AS post_year,
           pin.category,
           count(*) AS category_count
    FROM pin_table AS pin JOIN geo_table AS geo USING (ind)
    WHERE geo.country IS NOT NULL AND geo."timestamp" IS NOT NULL AND pin.category IS NOT NULL
    GROUP BY geo.country, 2, pin.category
  ) AS counted
) AS ranked
WHERE {top} = 0 OR place <= {top} OR rank = 1
