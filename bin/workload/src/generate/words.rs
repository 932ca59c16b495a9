//! Words that titles, descriptions and tags are made of.

/// Words of each category, in the order of `CATEGORIES`, each with a capital.
#[rustfmt::skip]
pub const OF_CATEGORY: [[&str; 14]; 16] = [
    ["Art", "Drawing", "Sketches", "Painting", "Canvas", "Watercolor", "Portrait", "Abstract", "Illustration", "Acrylic", "Doodle", "Sculpture", "Pencil", "Mural"],
    ["Beauty", "Makeup", "Skincare", "Lipstick", "Eyeliner", "Nails", "Hair", "Routine", "Serum", "Hairstyles", "Moisturizer", "Brows", "Glow", "Face"],
    ["Christmas", "Tree", "Ornaments", "Holiday", "Wreath", "Lights", "Stocking", "Santa", "Gingerbread", "Porch", "Gifts", "Winter", "Garland", "Farmhouse"],
    ["Diy", "Crafts", "Handmade", "Crochet", "Sewing", "Paper", "Macrame", "Upcycled", "Pallet", "Yarn", "Clay", "Embroidery", "Resin", "Kids"],
    ["Education", "Teaching", "Classroom", "Reading", "Learning", "Worksheets", "Montessori", "Preschool", "Homeschool", "Spelling", "Science", "Lesson", "Students", "Teacher"],
    ["Event", "Planning", "Wedding", "Party", "Checklist", "Venue", "Invitations", "Balloons", "Budget", "Planner", "Reception", "Corporate", "Centerpieces", "Timeline"],
    ["Finance", "Budget", "Saving", "Money", "Debt", "Investing", "Frugal", "Challenge", "Retirement", "Income", "Credit", "Couponing", "Side Hustle", "Bills"],
    ["Recipe", "Dinner", "Chicken", "Salad", "Cocktail", "Baking", "Sourdough", "Pasta", "Brunch", "Smoothie", "Vegan", "Dessert", "Slow Cooker", "Café"],
    ["Garden", "Plants", "Vegetable", "Raised Beds", "Herbs", "Compost", "Succulents", "Backyard", "Perennials", "Hydrangea", "Landscaping", "Patio", "Seeds", "Pots"],
    ["Home", "Decor", "Living Room", "Bedroom", "Kitchen", "Farmhouse", "Rustic", "Interior", "Wall", "Shelves", "Bathroom", "Entryway", "Boho", "Modern"],
    ["Mens", "Fashion", "Outfits", "Street Style", "Suits", "Shirts", "Sneakers", "Casual", "Jackets", "Denim", "Watches", "Menswear", "Beard", "Shoes"],
    ["Photography", "Portrait", "Camera", "Lightroom", "Presets", "Sunset", "Black And White", "Poses", "Landscape", "Film", "Studio", "Macro", "Editing", "Lens"],
    ["Quotes", "Life", "Inspirational", "Love", "Wisdom", "Happiness", "Strength", "Motivational", "Sayings", "Positive", "Relationship", "Thoughts", "Mindset", "Soul"],
    ["Tattoo", "Ink", "Sleeve", "Small Tattoos", "Flower", "Dragon", "Geometric", "Minimalist", "Forearm", "Designs", "Meaningful", "Dotwork", "Stencil", "Lotus"],
    ["Travel", "Itinerary", "Beaches", "Islands", "Road Trip", "Backpacking", "Destinations", "Hiking", "Bucket List", "Italy", "Waterfalls", "Packing", "Wanderlust", "Hotels"],
    ["Cars", "Vintage", "Trucks", "Motorcycle", "Camper", "Van Life", "Electric", "Muscle", "Garage", "Racing", "Jeep", "Vehicle", "Engine", "Classic"],
];

/// Words of any title, each with a capital.
#[rustfmt::skip]
pub const OF_TITLES: [&str; 44] = [
    "Ideas", "The", "Best", "For", "And", "Easy", "How To", "Your", "Beautiful", "Simple", "With", "Amazing", "Of", "Things", "That", "You",
    "Creative", "Unique", "Tips", "From", "Guide", "Every", "Cute", "Free", "Printable", "Style", "Perfect", "Most", "Will", "Make", "Small",
    "Big", "New", "On A Budget", "Step By Step", "Inspiration", "You Need To Try", "Cool", "Fun", "This Year", "Design", "Top", "Ultimate", "In",
];

/// Words of any description.
#[rustfmt::skip]
pub const OF_DESCRIPTIONS: [&str; 64] = [
    "the", "and", "for", "your", "with", "these", "that", "you", "a", "to", "of", "in", "this", "is", "are", "from", "looking for", "check out",
    "find", "perfect", "simple", "easy", "beautiful", "ideas", "inspiration", "we", "have", "our", "can", "will", "make", "home", "great", "way",
    "learn", "create", "more", "all", "favorite", "best", "some", "it", "on", "or", "by", "tutorial", "step", "love", "how", "new", "time",
    "every", "unique", "style", "design", "years", "little", "discover", "recipe", "follow", "collection", "shop", "family", "post",
];

/// Non-ASCII text as it stands in real titles; characters beyond the basic plane are escaped as Connect writes them.
#[rustfmt::skip]
pub const UNUSUAL: [&str; 20] = [
    "–", "’s", "Café", "“Wow”", "…", "•", "Décor", "»", "é", "Идеи", "アート", "für", "½", "™", "✌", "❤️",
    "\\ud83d\\ude0d", "\\ud83c\\udf84", "\\ud83d\\udd25", "\\ud83d\\udc68\u{200d}\\ud83c\\udfa8",
];

/// What posters call themselves, after a name.
#[rustfmt::skip]
pub const OF_POSTERS: [&str; 30] = [
    "", "", "", "", "", "", "", "", " Design", " Studio", " & Co", " Blog", " | Lifestyle Blog", " Photography", " Interiors", " | Travel Tips", " Crafts",
    " Art", "'s Kitchen", " Home", " | Home Decor & DIY", " Official", " Magazine", " Jewelry", " at Home", " Tattoo", " & Sons", " | Easy Recipes For Families",
    " Vintage", " \\ud83c\\udfa8",
];
