"""Classes of words that tell her = him from her = his, and the words whose company classes all others."""

GROUPS = {
    "article": "the a an",
    "determiner": "this these those some any each another enough both all half no such",
    "quantity": "every many several few",
    "possessive": "his its her their my your our whose",
    "preposition": (
        "of in on at to for from by with into onto about after before through against between under without upon "
        "across behind beyond toward towards within among above below beside besides near past during except "
        "despite like"
    ),
    "particle": "out up down over off away back around along aside apart together forward inside outside",
    "conjunction": (
        "and or but nor if when while as than because since though although till until unless so that whether"
    ),
    "question": "who whom which what where how why whatever whoever",
    "subject": "he she it they we you i there",
    "object": "him them us me himself herself itself themselves myself",
    "be": "is was are were be been am",
    "gerund": "being having",
    "auxiliary": "has have had do does did will would can could may might shall should must cannot",
    "adjunct": (
        "not never too also then here again now once twice still always already soon later home upstairs "
        "downstairs today yesterday tonight tomorrow somewhere anywhere someplace sometimes somehow perhaps "
        "instead either neither anyway otherwise thus therefore however alone yet ago afterwards forever"
    ),
    "degree": (
        "ever even only just almost rather quite very much more most less least better best well far first last long"
    ),
    "office": (
        "president king queen mayor captain chairman chairwoman chair governor director ruler minister bishop "
        "emperor empress chancellor ambassador senator knight duke duchess ceo spokesman spokeswoman"
    ),
    "message": "stories tales lies jokes things news fibs nonsense something anything everything nothing",
    "number": "one two three four five six seven eight nine ten twenty fifty hundred thousand million",
}
CLOSED_CLASS = tuple(word for words in GROUPS.values() for word in words.split())
VERBS = {
    "give": (
        "give gives gave given giving show shows showed shown showing bring brings brought bringing send sends "
        "sent sending pay pays paid paying offer offers offered offering cost costs costing buy buys bought "
        "buying lend lends lent lending grant grants granted granting wish wishes owe owes owed deny denied "
        "afford afforded hand hands handed handing done doing earn earned save saved write wrote "
        "promise promised serve served teach taught"
    ),
    "tell": (
        "tell tells told telling ask asks asked asking inform informed warn warned remind reminded assure assured "
        "persuade persuaded convince convinced"
    ),
    "make": "make makes made making let lets letting help helps helped helping bid bids bade",
    "see": (
        "see sees saw seen seeing hear hears heard hearing watch watches watched watching notice noticed observe "
        "observed feel felt find finds found finding catch caught catching"
    ),
    "keep": (
        "keep keeps kept keeping leave leaves left leaving get gets got getting hold holds held holding drive "
        "drove turn turned set render rendered"
    ),
    "call": (
        "call calls called calling name names named naming consider considers considered considering think thinks "
        "thought believe believes believed declare declared elect elected appoint appointed deem deemed crown "
        "crowned"
    ),
    "take": (
        "take takes took taken taking lead leads led leading carry carries carried carrying put puts drag dragged "
        "draw drew push pushed pull pulled throw threw shove shoved"
    ),
}
ENDINGS = ("ly", "ing", "ed", "est", "er", "s")

OBJECT_BETWEEN = (("make", "office"), ("call", "office"), ("tell", "message"))
OBJECT_LOG_ODDS = -8.0  # where learning begins for these, as some corpora have no example of them

COMPANY_BEFORE = (
    "the a an this",
    "its their our my your whose",
    "is was are were be been",
    "to will would can could may might should must",
    "they we you i he she who",
    "them me us himself herself him",
    "of in for with on at by from",
    "and or",
    ", . ; :",
    "very more most so too",
)
COMPANY_BEHIND = (
    "the a an this",
    "its their our my your",
    "them me us himself herself him",
    "of in for with on at by from",
    "to",
    "and or",
    ", . ; : )",
    "is was are were has had will",
    "that which who",
)
