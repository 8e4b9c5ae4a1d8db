/* header */
#include "relaypool.h"
